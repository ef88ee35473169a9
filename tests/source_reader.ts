/**
 * Reads TypeScript just well enough for the house rules: which specifiers it imports, and its code without comments
 * and without what is inside strings.
 * @module
 */

/** A source file as the rules see it. */
export interface Source {
  readonly text: string;
  /** Same length and lines as `text`; comments, string contents and regular expressions are blanks. */
  readonly code: string;
  /** Static, dynamic and re-exporting imports whose specifier is a plain string. */
  readonly imports: readonly Import[];
}

/** One import. */
export interface Import {
  readonly specifier: string;
  /** 1-based. */
  readonly line: number;
  /** `import type`, `export type`: gone when the program runs. */
  readonly typeOnly: boolean;
}

/** After one of these a slash starts a regular expression, not a division. */
const BEFORE_REGEXP =
  /(?:^|[(,=:[!&|?{};+\-*%~^<>]|\b(?:return|typeof|case|in|of|do|else|void|delete|yield|await))\s*$/;

/** Where an import's specifier starts, in code whose strings are blank. */
const IMPORT =
  /\b(?:(?:import|export)\s+(type)\b(?!\s*from)[^"'`;()]*?\bfrom|from|import)\s*(?:\(\s*)?(["'])/g;

/** Reads one file. */
export function readSource(text: string): Source {
  const code = blank(text);
  const imports: Import[] = [];
  for (const match of code.matchAll(IMPORT)) {
    const start = match.index + match[0].length;
    const specifier = text.slice(start, text.indexOf(match[2]!, start));
    const line = text.slice(0, start).split("\n").length;
    imports.push({ specifier, line, typeOnly: match[1] !== undefined });
  }
  return { text, code, imports };
}

/** Blanks comments, string contents and regular expressions; keeps every line break and position. */
function blank(text: string): string {
  const out = [...text.split("")];
  const hide = (from: number, to: number) => {
    for (let i = from; i < to && i < out.length; i++) if (out[i] !== "\n") out[i] = " ";
  };
  // For each open `${` the number of braces open inside it.
  const templates: number[] = [];
  let i = 0;
  const skipTemplate = () => {
    const start = i;
    while (i < text.length && text[i] !== "`" && !text.startsWith("${", i)) {
      i += text[i] === "\\" ? 2 : 1;
    }
    hide(start, i);
    if (text.startsWith("${", i)) {
      templates.push(0);
      i += 2;
    } else i++;
  };
  while (i < text.length) {
    const char = text[i]!;
    if (text.startsWith("//", i) || (i === 0 && text.startsWith("#!"))) {
      const end = text.indexOf("\n", i);
      hide(i, end === -1 ? text.length : end);
      i = end === -1 ? text.length : end;
    } else if (text.startsWith("/*", i)) {
      const end = text.indexOf("*/", i + 2);
      hide(i, end === -1 ? text.length : end + 2);
      i = end === -1 ? text.length : end + 2;
    } else if (char === '"' || char === "'") {
      const start = ++i;
      while (i < text.length && text[i] !== char && text[i] !== "\n") {
        i += text[i] === "\\" ? 2 : 1;
      }
      hide(start, i++);
    } else if (char === "`") {
      i++;
      skipTemplate();
    } else if (char === "{" && templates.length > 0) {
      templates[templates.length - 1]!++;
      i++;
    } else if (char === "}" && templates.length > 0) {
      i++;
      if (templates[templates.length - 1] === 0) {
        templates.pop();
        skipTemplate();
      } else templates[templates.length - 1]!--;
    } else if (char === "/" && BEFORE_REGEXP.test(out.slice(Math.max(0, i - 40), i).join(""))) {
      const start = ++i;
      let inClass = false;
      while (i < text.length && text[i] !== "\n" && (inClass || text[i] !== "/")) {
        if (text[i] === "[") inClass = true;
        if (text[i] === "]") inClass = false;
        i += text[i] === "\\" ? 2 : 1;
      }
      hide(start, i++);
    } else i++;
  }
  return out.join("");
}
