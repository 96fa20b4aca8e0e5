// Makes assets/vendor/tabler.css: Tabler, less what no template uses, with dark mode by the system's preference.
import { readFileSync, writeFileSync } from "node:fs";
import postcss from "postcss";
import { PurgeCSS } from "purgecss";

const source = "node_modules/@tabler/core/dist/css/tabler.min.css";
const { version } = JSON.parse(readFileSync("node_modules/@tabler/core/package.json", "utf8"));

const [purged] = await new PurgeCSS().purge({
  content: ["../../templates/**/*.html", "../../assets/admin/*.js"],
  css: [source],
  keyframes: true,
});

// Other ways to say "dark" that Tabler offers and no page uses.
const unused = /data-bs-navbar-theme|\[data-theme|body\[data-bs-theme|\[dir=rtl\]/;
// A page whose theme is "auto" is dark when the system is.
const darkByPreference = {
  postcssPlugin: "dark-by-preference",
  Once(root) {
    root.walkRules((rule) => {
      const kept = rule.selectors.filter((selector) => !unused.test(selector));
      if (kept.length === 0) return rule.remove();
      rule.selectors = kept;
      const dark = kept.filter((selector) => /\[data-bs-theme=dark\]/.test(selector));
      if (dark.length === 0 || rule.parent.type === "atrule") return;
      const twin = rule.clone({ selectors: dark.map((s) => s.replaceAll("[data-bs-theme=dark]", "[data-bs-theme=auto]")) });
      const media = postcss.atRule({ name: "media", params: "(prefers-color-scheme:dark)" });
      rule.after(media.append(twin));
    });
  },
};
const { css } = await postcss([darkByPreference]).process(purged.css, { from: undefined });
const licence = `/*! Tabler ${version} (MIT licence, https://tabler.io), reduced by scripts/vendor-assets to what the templates use */\n`;
writeFileSync("../../assets/vendor/tabler.css", licence + css.replace(/\/\*![\s\S]*?\*\//g, "").replace(/\/\*# sourceMappingURL.*?\*\//, "") + "\n");
