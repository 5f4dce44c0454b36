// The shapes that the server answers with. Types only: nothing runs here.

/** @typedef {{id: string, email: string, name: string, slug: string, role: string}} User */
/** @typedef {{needs_setup: boolean, allow_signup: boolean, invite_required: boolean, user: User | null}} SigninState */
/** @typedef {{name: string, display_name: string, description: string, disabled: boolean, models: string[]}} Backend */
/** @typedef {{id: string, backend: string, name: string, state: string, failure: string, running: boolean}} Agent */
/** @typedef {{id: string, backend: string, agent_id: string, title: string, updated_at: number, running_turn: string | null}} Conversation */
/** @typedef {{id: string, role: string, content: string, created_at: number, turn_id: string | null}} Message */
/** @typedef {{stage: string, progress: number, message: string, detail: string}} Progress */
/** @typedef {{id: string, text: string, length: number, progress: Progress | null}} LiveTurn */
/** @typedef {{id: string, status: string}} Turn */

export {};
