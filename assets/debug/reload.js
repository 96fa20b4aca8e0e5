// Loads the page again when a template or an asset changes, or when the server has been started anew. Debug mode only.
const events = new EventSource("/__reload__");
let wasLost = false;
events.onmessage = () => location.reload();
events.onerror = () => { wasLost = true; };
events.onopen = () => { if (wasLost) location.reload(); };
