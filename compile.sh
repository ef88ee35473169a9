#!/bin/sh
# Makes dist/postern: the whole program as one executable file. `sh compile.sh --help` says how.
set -eu

WANTED_DENO=2.9.6
# What the program needs from Deno, whichever way it is packed. Nothing is fetched, asked or checked when it runs.
RUN_FLAGS="-A --unstable-net --no-prompt --no-remote --cached-only --no-lock"
# The engine's native addon exists for these only; there is none for Linux on ARM.
TARGETS="x86_64-unknown-linux-gnu x86_64-apple-darwin aarch64-apple-darwin x86_64-pc-windows-msvc"

say() { printf 'compile.sh: %s\n' "$*" >&2; }
fail() { say "$1"; exit "${2:-1}"; }

usage() {
  cat <<EOF
Makes one self-contained executable of Postern.

Usage: sh compile.sh [--target TRIPLE] [--output FILE] [--pack]

  --target TRIPLE  compile for another platform (needs the network): one of
$(for triple in $TARGETS; do echo "                     $triple"; done)
  --output FILE    where to put it (default: dist/postern)
  --pack           do not try \`deno compile\`; make the self-extracting file at once
  --help           this text

Environment: DENORT_BIN names the runtime (denort) that \`deno compile\` shall use instead of downloading it;
DENO names the Deno to use (default: deno on the PATH, else npx).

Where \`deno compile\` cannot get its runtime, the same program is packed with the Deno at hand into a self-extracting
file. Its first run unpacks into \$POSTERN_CACHE, \$XDG_CACHE_HOME/postern, ~/.cache/postern or the temporary folder,
whichever can be used first; later runs start at once. It needs sh, tar, gzip and tail, and no network.
EOF
}

target='' output=dist/postern pack_only=no
while [ $# -gt 0 ]; do
  case $1 in
    --target) [ $# -ge 2 ] || fail "--target needs a TRIPLE; see --help" 2; target=$2; shift 2 ;;
    --target=*) target=${1#*=}; shift ;;
    --output | -o) [ $# -ge 2 ] || fail "--output needs a FILE; see --help" 2; output=$2; shift 2 ;;
    --output=*) output=${1#*=}; shift ;;
    --pack) pack_only=yes; shift ;;
    --help | -h) usage; exit 0 ;;
    *) fail "Cannot understand \"$1\"; see --help" 2 ;;
  esac
done
case $output in /*) ;; *) output=$PWD/$output ;; esac
cd "$(dirname "$0")"
root=$PWD

deno() {
  if [ -n "${DENO:-}" ]; then "$DENO" "$@"
  elif command -v deno >/dev/null; then command deno "$@"
  else npx -y "deno@$WANTED_DENO" "$@"; fi
}

host=$(deno eval 'console.log(Deno.build.target)') || fail "Cannot find Deno; npm install -g deno@$WANTED_DENO"
target=${target:-$host}
case " $TARGETS " in
  *" $target "*) ;;
  *) fail "Cannot make Postern for \"$target\" as its QUIC engine has binaries only for: $TARGETS" 2 ;;
esac
case $target in
  x86_64-*) arch=x64 ;;
  *) arch=arm64 ;;
esac
case $target in
  *linux*) os=linux ;;
  *darwin*) os=darwin ;;
  *) os=win32; output=${output%.exe}.exe ;;
esac
[ "$pack_only" = no ] || [ "$target" = "$host" ] || fail "Cannot --pack for another platform than this one" 2

stage=$(mktemp -d "${TMPDIR:-/tmp}/postern-compile.XXXXXX")
trap 'rm -rf "$stage"' EXIT
trap 'exit 130' HUP INT TERM
mkdir -p "$(dirname "$output")" "$stage/root/app"
app=$stage/root/app

# --- The program alone: its sources and the npm packages that it really imports, for one platform -----------------

cat >"$stage/stage.js" <<'EOF'
const [step, root, app] = Deno.args;
const readJson = (path) => JSON.parse(Deno.readTextFileSync(path));
function* files(folder) {
  for (const entry of Deno.readDirSync(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* files(path);
    else if (entry.isFile) yield path;
  }
}
if (step === "sources") {
  const config = readJson(`${root}/deno.json`);
  const info = new Deno.Command(Deno.execPath(), { args: ["info", "--json", "main.ts"], cwd: root, stderr: "inherit" }).outputSync();
  const graph = JSON.parse(new TextDecoder().decode(info.stdout));
  const broken = graph.modules.filter((module) => module.error);
  for (const { specifier, error } of broken) console.error(`${specifier}: ${error}`);
  if (broken.length > 0) Deno.exit(1);
  const used = graph.modules.filter((module) => module.kind === "npm").map((module) => module.npmPackage ?? module.specifier);
  const name = (specifier) => /^(?:npm:\/?)?(@[^/]+\/[^@/]+|[^@/]+)/.exec(specifier)?.[1];
  const names = new Set(used.map(name));
  const imports = Object.fromEntries(Object.entries(config.imports).filter(([, target]) => names.has(name(target))));
  const { name: packageName, version, license, exports, unstable } = config;
  const staged = { name: packageName, version, license, exports, unstable, nodeModulesDir: "auto", imports };
  Deno.writeTextFileSync(`${app}/deno.json`, JSON.stringify(staged, null, 2));
  for (const file of ["main.ts", "deno.lock", "LICENSE"]) Deno.copyFileSync(`${root}/${file}`, `${app}/${file}`);
  for (const file of files(`${root}/src`)) {
    if (file.endsWith(".md")) continue;
    const copy = app + file.slice(root.length);
    Deno.mkdirSync(copy.slice(0, copy.lastIndexOf("/")), { recursive: true });
    Deno.copyFileSync(file, copy);
  }
  console.log(version);
} else {
  // Tests and sample data of packages are not only ballast: those of "bintrees" overflow the stack of `deno compile`.
  const ballast = new Set(["test", "tests", "example", "examples", "doc", "docs", "bench"]);
  const store = `${app}/node_modules/.deno`;
  for (const { name } of Deno.readDirSync(store)) {
    const at = `${store}/${name}/node_modules`;
    if (!name.includes("@")) continue;
    const packages = [...Deno.readDirSync(at)].flatMap((entry) =>
      entry.isDirectory && entry.name.startsWith("@")
        ? [...Deno.readDirSync(`${at}/${entry.name}`)].filter((e) => e.isDirectory).map((e) => `${at}/${entry.name}/${e.name}`)
        : entry.isDirectory ? [`${at}/${entry.name}`] : []
    );
    for (const folder of packages) {
      for (const entry of Deno.readDirSync(folder)) {
        if (entry.isDirectory && ballast.has(entry.name)) Deno.removeSync(`${folder}/${entry.name}`, { recursive: true });
      }
      for (const file of files(folder)) if (/\.(?:d\.[cm]?ts|map|md)$/.test(file)) Deno.removeSync(file);
    }
  }
  for (const file of [".deno.lock", ".setup-cache.bin"]) {
    try { Deno.removeSync(`${store}/${file}`); } catch { /* this Deno makes none */ }
  }
  Deno.removeSync(`${app}/deno.lock`);
  const staged = readJson(`${app}/deno.json`);
  Deno.writeTextFileSync(`${app}/deno.json`, JSON.stringify({ ...staged, nodeModulesDir: "manual" }, null, 2));
}
EOF
version=$(deno run -A --no-config "$stage/stage.js" sources "$root" "$app") || fail "Cannot read the program"
(cd "$app" && deno install --quiet --os "$os" --arch "$arch" --entrypoint main.ts >"$stage/log" 2>&1) ||
  { cat "$stage/log" >&2; fail "Cannot collect the npm packages"; }
deno run -A --no-config "$stage/stage.js" prune "$root" "$app"
found=$(find "$app/node_modules/.deno" -name '*.node' -path "*quic-$os-*" | head -n 1)
[ -n "$found" ] || fail "Cannot find the QUIC engine's native addon for $os-$arch among the npm packages"

# --- First choice: deno compile -----------------------------------------------------------------------------------

try_compile() {
  made=$stage/made
  [ "$os" != win32 ] || made=$stage/made.exe
  patience=
  if command -v timeout >/dev/null; then patience="timeout 600"; fi
  # The function above is not visible to timeout; $deno_program is the Deno that runs everything here.
  # shellcheck disable=SC2086
  if ! (cd "$app" && $patience "$deno_program" compile $RUN_FLAGS --no-check --config deno.json \
    --target "$target" --output "$made" main.ts) >"$stage/log" 2>&1; then
    if grep -Eq 'Connect|dns error|timed out|base binary|denort' "$stage/log"; then
      reason="\`deno compile\` cannot get its runtime here (DENORT_BIN can name one)"
    else
      cat "$stage/log" >&2
      reason="\`deno compile\` failed"
    fi
    return 1
  fi
  if [ "$target" = "$host" ]; then
    # A wrong DENORT_BIN (Deno itself, for one) gives a file that starts, but not the program.
    case $("$made" --version 2>/dev/null </dev/null || :) in
      *postern*"$version"*) ;;
      *) reason="what \`deno compile\` made is not the program (is DENORT_BIN a denort?)"; return 1 ;;
    esac
  fi
  mv "$made" "$output"
}

# --- Second choice: a self-extracting file ------------------------------------------------------------------------

make_packed() {
  mkdir "$stage/root/bin"
  cp "$deno_program" "$stage/root/bin/deno"
  chmod 755 "$stage/root/bin/deno"
  # Runs in the first start: everything is on the disk before the folder gets its name, and the name is given at once
  # (rename fails on a folder that has something in it), so nobody ever sees half of it.
  cat >"$stage/root/place.js" <<'EOF'
const [from, to] = Deno.args;
const flush = (path) => {
  for (const entry of Deno.readDirSync(path)) {
    if (entry.isDirectory) flush(`${path}/${entry.name}`);
    else if (entry.isFile) {
      const file = Deno.openSync(`${path}/${entry.name}`);
      file.syncDataSync();
      file.close();
    }
  }
};
const exists = (path) => {
  try { return Deno.statSync(path).isFile; } catch { return false; }
};
const sound = () => ["complete", "bin/deno", "app/main.ts"].every((file) => exists(`${to}/${file}`));
flush(from);
for (let tries = 0; tries < 3 && !sound(); tries++) {
  try { Deno.renameSync(from, to); } catch (error) {
    // Another first run was quicker: fine. What lies there is damaged: out of the way with it.
    if (sound()) break;
    try { Deno.renameSync(to, `${from}-damaged`); } catch { if (tries === 2) throw error; }
  }
}
try { Deno.removeSync(`${from}-damaged`, { recursive: true }); } catch { /* there was none */ }
EOF
  : >"$stage/root/complete"
  # "complete" is last in the archive, so it exists only where everything before it does.
  if tar --version 2>/dev/null | grep -q GNU; then
    same="--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu"
  else
    same=
  fi
  # shellcheck disable=SC2086
  tar $same -cf "$stage/payload.tar" -C "$stage/root" bin app place.js complete
  gzip -9nc "$stage/payload.tar" >"$stage/payload"
  rm "$stage/payload.tar"
  key=$(deno eval --no-config '
    const hash = await crypto.subtle.digest("SHA-256", Deno.readFileSync(Deno.args[0]));
    console.log(new Uint8Array(hash).toHex().slice(0, 16));
  ' "$stage/payload")
  sed -e "s/@VERSION@/$version/g" -e "s/@KEY@/$key/g" -e "s/@FLAGS@/$RUN_FLAGS/g" -e "s/@TARGET@/$target/g" \
    >"$stage/header" <<'EOF'
#!/bin/sh
# Postern @VERSION@ for @TARGET@: a small script and, from byte 8193 on, a tar.gz of Deno and the program.
# The first run unpacks it; every later run starts it at once.
name=@VERSION@-@KEY@ place='' unpacking=''

# Exported, for where there is none Deno makes one of a folder of its own, and what the program starts finds nothing.
export PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}"
case $0 in
  /*) self=$0 ;;
  ./*) self=$PWD/${0#./} ;;
  */*) self=$PWD/$0 ;;
  *) if [ -f "./$0" ]; then self=$PWD/$0; else self=$(command -v -- "$0"); fi ;;
esac

# What a person has set for Deno or Node must not change this program.
case "$(export -p)" in
  *DENO_* | *NODE_OPTIONS*)
    # shellcheck disable=SC2046
    unset NODE_OPTIONS $(export -p | sed -n 's/^export \(DENO_[A-Za-z0-9_]*\).*/\1/p') ;;
esac

sound() { [ -f "$1/complete" ] && [ -s "$1/app/main.ts" ] && [ -s "$1/bin/deno" ] && [ -x "$1/bin/deno" ]; }

# Under a folder that everybody may write to, only what is ours is trusted.
ours() { [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ]; }

look() {
  if [ -z "$place" ] && [ -n "$1" ] && sound "$1/$name" && { [ "$2" = private ] || ours "$1"; }; then
    place=$1/$name
  fi
}

unpack() {
  if [ -n "$place" ] || [ -z "$1" ] || ! (umask 077 && mkdir -p "$1") 2>/dev/null; then return; fi
  if [ "$2" = shared ] && ! ours "$1"; then return; fi
  # Left by first runs that were killed.
  find "$1" -name '.unpack-*' -prune -mmin +60 -exec rm -rf {} + 2>/dev/null
  unpacking=$(mktemp -d "$1/.unpack-XXXXXXXX" 2>/dev/null) || return
  if [ -t 2 ]; then echo "postern: unpacking into $1, this once" >&2; fi
  if tail -c +8193 "$self" | { gzip -dc || : >"$unpacking/broken"; } 2>/dev/null |
    tar -xof - -C "$unpacking" 2>/dev/null &&
    [ -f "$unpacking/complete" ] && [ ! -e "$unpacking/broken" ]; then
    DENO_DIR=$unpacking/deno_dir DENO_NO_UPDATE_CHECK=1 \
      "$unpacking/bin/deno" run -A --no-config --no-lock "$unpacking/place.js" "$unpacking" "$1/$name" 2>/dev/null
  fi
  rm -rf "$unpacking"
  unpacking=''
  look "$1" "$2"
}

everywhere() {
  "$1" "${POSTERN_CACHE:-}" private
  "$1" "${XDG_CACHE_HOME:+$XDG_CACHE_HOME/postern}" private
  "$1" "${HOME:+$HOME/.cache/postern}" private
  if [ -z "$place" ]; then
    user=$(id -u)
    "$1" "${TMPDIR:-/tmp}/postern-$user" shared
    "$1" "/var/tmp/postern-$user" shared
  fi
}

everywhere look
if [ -z "$place" ]; then
  trap 'if [ -n "$unpacking" ]; then rm -rf "$unpacking"; fi' EXIT
  trap 'exit 130' HUP INT TERM
  everywhere unpack
  trap - EXIT HUP INT TERM
fi
if [ -z "$place" ]; then
  echo "postern: Cannot unpack as no folder was found that can be written to and run from (150 MB)" >&2
  echo "postern: name one in POSTERN_CACHE; if there is one, this file may be damaged or for another system" >&2
  exit 1
fi

export POSTERN_SELF="$self" DENO_DIR="$place/deno_dir" DENO_NO_UPDATE_CHECK=1
exec "$place/bin/deno" run @FLAGS@ --config "$place/app/deno.json" "$place/app/main.ts" "$@"
exit 1
EOF
  length=$(($(wc -c <"$stage/header")))
  [ "$length" -le 8192 ] || fail "Cannot pack as the header has $length bytes instead of at most 8192"
  { cat "$stage/header"; printf "%$((8192 - length))s" ''; cat "$stage/payload"; } >"$stage/made"
  chmod 755 "$stage/made"
  case $(POSTERN_CACHE=$stage/cache "$stage/made" --version </dev/null || :) in
    *postern*"$version"*) ;;
    *) fail "Cannot start what was packed" ;;
  esac
  mv "$stage/made" "$output"
}

deno_program=$(deno eval 'console.log(Deno.execPath())')
reason="--pack was asked for"
if [ "$pack_only" = no ] && try_compile; then
  how="by deno compile"
elif [ "$target" != "$host" ]; then
  fail "Cannot make Postern for $target as $reason"
elif [ "$os" = win32 ]; then
  fail "Cannot make Postern as $reason and a self-extracting file needs a POSIX system"
else
  say "$reason: packing the program with this Deno into a self-extracting file"
  make_packed
  how="self-extracting"
fi

digest=$(deno eval --no-config '
  const hash = await crypto.subtle.digest("SHA-256", Deno.readFileSync(Deno.args[0]));
  console.log(new Uint8Array(hash).toHex());
' "$output")
echo "$output ($how, $version, $target)"
echo "size   $(($(wc -c <"$output"))) bytes"
echo "sha256 $digest"
