#!/usr/bin/env bash
# Builds and packs what is to be published into a folder, for .github/workflows/release.yml:
#
#   REPOSITORY_URL=git+https://github.com/owner/name.git bash scripts/pack-release.sh FOLDER
#
# Prints `changesets=true|false` and `publish=true|false`; all else goes to standard error. While there are changesets
# nothing is packed: they become versions first. It writes the repository into each package.json, where npm looks for
# what the provenance is to be compared with, and is therefore only run on a checkout that is thrown away.
set -euo pipefail
folder=$(realpath --canonicalize-missing "${1:?a folder}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -n "$(find .changeset -name '*.md' ! -name README.md)" ]; then
  echo "changesets=true"
  echo "publish=false"
  exit
fi
echo "changesets=false"
for manifest in packages/*/package.json; do
  (
    cd "$(dirname "$manifest")"
    npm pkg set repository.type=git repository.url="${REPOSITORY_URL:?}" repository.directory="$(dirname "$manifest")" >&2
  )
done
pnpm build >&2
pnpm changeset pack --out-dir "$folder" >&2
if [ "$(jq '[.plan[][] | select(.kind == "publish")] | length' "$folder/publish-plan.json")" -gt 0 ]; then
  echo "publish=true"
else
  echo "publish=false"
fi
