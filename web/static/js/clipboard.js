// Copying, also where the page came by plain http and the browser keeps its clipboard to itself.

/** @param {string} text @returns {Promise<boolean>} whether it was copied */
export async function copyText(text) {
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  try {
    return await copyFrom(field);
  } finally {
    field.remove();
  }
}

/** @param {HTMLInputElement | HTMLTextAreaElement} field @returns {Promise<boolean>} whether its text was copied; it is selected in any case */
export async function copyFrom(field) {
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    return document.execCommand("copy");
  }
}
