// The shapes that the server answers with. Types only: nothing runs here.

/** @typedef {{id: string, email: string, name: string, slug: string, role: string}} User */
/** @typedef {{needs_setup: boolean, allow_signup: boolean, invite_required: boolean, read_only: boolean, user: User | null}} SigninState */
/** @typedef {{name: string, display_name: string, description: string, disabled: boolean, models: string[], user_overridable_env: string[]}} Backend */
/** @typedef {{id: string, backend: string, name: string, state: string, failure: string, running: boolean}} Agent */
/** @typedef {{id: string, backend: string, agent_id: string, title: string, updated_at: number, running_turn: string | null}} Conversation */
/** @typedef {{id: string, role: string, content: string, created_at: number, turn_id: string | null}} Message */
/** @typedef {{conversation_id: string, title: string, backend: string, message_id: string, role: string, created_at: number, excerpt: {text: string, hit: boolean}[]}} Hit a message that a search has found */
/** @typedef {{stage: string, progress: number, message: string, detail: string}} Progress */
/** @typedef {{id: string, text: string, length: number, progress: Progress | null}} LiveTurn */
/** @typedef {{id: string, status: string}} Turn */

/** @typedef {{source: "backend" | "global" | "shared" | "default" | "unset", masked: string}} Effective the value in effect, and where it comes from */
/**
 * @typedef {object} Keys
 * @property {string[]} vars
 * @property {Record<string, string[]>} backends names of the backends that use a variable
 * @property {Record<string, boolean>} admin_shared
 * @property {Record<string, boolean>} admin_shared_present
 * @property {Record<string, Record<string, string>>} overrides masked values by backend, "" for all agents
 * @property {Record<string, Record<string, Effective>>} effective by backend
 */
/** @typedef {{vars: string[], shared: Record<string, boolean>, admin_has_value: Record<string, boolean>}} SharedKeys */
/** @typedef {{ok: boolean, detail: string, models: string[]}} Tested */

/** @typedef {{id: string, device: string, created_at: number, expires_at: number, current: boolean}} Session */
/** @typedef {{id: string, name: string, prefix: string, scope: "all" | "v1", models: string[], created_at: number, expires_at: number | null, last_used_at: number | null, older_than_password: boolean}} Token */
/** @typedef {{id: string, note: string, prefix: string, uses: number, used: number, created_at: number, expires_at: number}} Invite */
/** @typedef {User & {created_at: number, monthly_tokens: number | null, used_tokens: number}} Member a user as the admin sees one */
/** @typedef {{users: Member[], takes: Record<string, Room & {api_tokens: number}>, most: Most}} Members by id of the user, what each takes of the server */

/** @typedef {{requests: number, errors: number, prompt_tokens: number, completion_tokens: number, unknown: number, estimated: number, runner_seconds: number}} Sums `unknown` counts the requests whose tokens the agent did not tell */
/** @typedef {Sums & {day: string, agent_id: string, backend: string, model: string}} UsageRow */
/** @typedef {{log_today: number, log: number, conversations: number, files: number | null}} Room what a person takes of the server; sizes in bytes */
/** @typedef {{log_per_day: number | null, conversations: number | null, files: number | null}} Most what each person may take; null for no limit */
/** @typedef {{monthly_tokens: number | null, used: number, resets_at: number}} Budget */
/** @typedef {{since: number, until: number, rows: UsageRow[], totals: Sums, budget: Budget, room: Room, most: Most}} Usage */
/** @typedef {UsageRow & {user_id: string, email: string}} MemberRow */
/** @typedef {{since: number, until: number, rows: MemberRow[], totals: Sums}} AllUsage */
/**
 * @typedef {object} Runner
 * @property {string} user_id
 * @property {string} email
 * @property {string} agent_id
 * @property {string} agent_name
 * @property {string} backend
 * @property {string} container_name
 * @property {string} state
 * @property {number | null} started_at
 * @property {number} idle_for_seconds
 * @property {number | null} stops_in_seconds null while it is in use or for ever
 */

export {};
