/* Offers Gradio's chunks to the browser under their own addresses, without a request for each. Runs before any module. */
(() => {
  if (!HTMLScriptElement.supports?.("importmap")) return;
  const { prefix, scripts, styles } = __PACK__;
  const assets = (globalThis.gradioAssets = new URL("assets/", document.baseURI).href);
  const imports = { [prefix]: assets };
  // A link of the same address keeps Gradio from preloading the file. Without a relation, or disabled, it loads nothing.
  const link = (name, values) => document.head.append(Object.assign(document.createElement("link"), values, { href: assets + name }));
  for (const [name, text] of Object.entries(scripts)) {
    imports[assets + name] = imports[prefix + name] = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    link(name, {});
  }
  for (const [name, text] of Object.entries(styles)) {
    link(name, { rel: "stylesheet", disabled: true });
    document.head.append(Object.assign(document.createElement("style"), { textContent: text }));
  }
  const map = Object.assign(document.createElement("script"), { type: "importmap", textContent: JSON.stringify({ imports }) });
  document.head.append(map);
})();
