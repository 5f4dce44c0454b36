// How a program uses a token.
import { html } from "../../html.js";
import { enabledBackends } from "../../store.js";

/** @param {{model?: string}} props one that the token may use; any when left out */
export function Example({ model = enabledBackends.value[0]?.models[0] ?? "model" }) {
  const text = `from openai import OpenAI

client = OpenAI(base_url="${location.origin}/v1", api_key="THE TOKEN")
answer = client.chat.completions.create(
    model="${model}", messages=[{"role": "user", "content": "Hello"}]
)
print(answer.choices[0].message.content)`;
  return html`
    <p class="hint">Every OpenAI client can use it. In Python:</p>
    <pre class="example" tabindex="0" aria-label="Example"><code>${text}</code></pre>
  `;
}
