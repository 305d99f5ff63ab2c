/* Loads the viewer's modules from their sources, which the HTML page includes: in the app and in an offline report. `sources` maps file names to texts, in the order of their imports. */

async function loadModules(sources) {
  const urls = {};
  for (const [name, text] of sources) {
    const linked = text.replace(/from "\.\/([\w-]+\.js)"/g, (_, file) => `from "${urls[file]}"`);
    urls[name] = URL.createObjectURL(new Blob([`${linked}\n//# sourceURL=gsr/${name}`], { type: "text/javascript" }));
  }
  const modules = {};
  for (const [name] of sources) Object.assign(modules, await import(urls[name]));
  return modules;
}
