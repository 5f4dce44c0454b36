// Signing in, signing up, and making the admin on the first start.
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { signIn, signin } from "../store.js";

const TEXTS = {
  login: { title: "Sign in", action: "Sign in", path: "/auth/login" },
  signup: { title: "Create an account", action: "Create account", path: "/auth/signup" },
  setup: { title: "Create the admin account", action: "Create admin", path: "/auth/setup" },
};

/** @param {{token: string, invite: string | null}} props the one-time token of the set-up link, or ""; the code of the sign-up link */
export function SignIn({ token, invite }) {
  const state = signin.value;
  const [chosen, choose] = useState(/** @type {"login" | "signup"} */ (invite === null ? "login" : "signup"));
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const mode = state?.needs_setup && token ? "setup" : chosen;
  const texts = TEXTS[mode];
  const isNew = mode !== "login";
  const needsInvite = state?.invite_required || !state?.allow_signup;

  /** @param {SubmitEvent} event */
  async function submit(event) {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    const body = Object.fromEntries([...form].filter(([, value]) => value !== ""));
    setBusy(true);
    setError("");
    try {
      await signIn(texts.path, mode === "setup" ? { ...body, token } : body, isNew || invite !== null);
    } catch (failure) {
      setError(/** @type {Error} */ (failure).message);
      setBusy(false);
    }
  }

  return html`
    <main class="signin">
      <form class="card" onSubmit=${submit}>
        ${state?.read_only && html`<p class="hint">This shows how things were. Sign in as you did then; nothing can be changed.</p>`}
        <h1><img src="/static/icon.svg" alt="" width="28" height="28" /> agent-stack</h1>
        <h2>${texts.title}</h2>
        ${state?.needs_setup && !token && html`<p class="hint">There is no admin yet. Open the link that the server printed when it started.</p>`}
        ${isNew && html`<label>Name<input name="name" autocomplete="name" maxlength="80" /></label>`}
        <label>Email<input name="email" type="email" autocomplete="username" required autofocus /></label>
        <label>
          Password
          <input name="password" type="password" required minlength=${isNew ? 10 : 1} autocomplete=${isNew ? "new-password" : "current-password"} />
        </label>
        ${isNew && html`<p class="hint">At least 10 characters.</p>`}
        ${mode === "signup" && (needsInvite || invite) && html`<label>Invite code<input name="invite_code" required=${needsInvite} defaultValue=${invite ?? ""} autocomplete="off" spellcheck=${false} /></label>`}
        ${error && html`<p class="error" role="alert">${error}</p>`}
        <button class="primary" disabled=${busy}>${busy ? "One moment…" : texts.action}</button>
        ${mode === "login" && state && (state.allow_signup || !state.needs_setup) && html`<p class="switch">${state.allow_signup ? "New here?" : "Do you have an invite?"} <button type="button" class="link" onClick=${() => choose("signup")}>Create an account</button></p>`}
        ${mode === "signup" && html`<p class="switch">Have an account? <button type="button" class="link" onClick=${() => choose("login")}>Sign in</button></p>`}
      </form>
    </main>
  `;
}
