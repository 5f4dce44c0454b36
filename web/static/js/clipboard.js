// Copying, also where the page came by plain http and the browser keeps its clipboard to itself.

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
