# Old or new, never half: report.json gets its name last, and a rename that fails in the middle leaves each file whole, the old or
# the new one. The failing rename is a shim before the C library's.
cat > "$scratch/shim.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int rename(const char* from, const char* to) {
  static int count;
  const char* log = getenv("SHIM_LOG");
  const char* fail_at = getenv("SHIM_FAIL_AT");
  int staged = strstr(to, "/.bevel-") != NULL; /* a file that is still in the making */
  if (fail_at && !staged && ++count == atoi(fail_at)) {
    errno = EIO;
    return -1;
  }
  FILE* file = log && !staged ? fopen(log, "a") : NULL;
  if (file) {
    fprintf(file, "%s\n", strrchr(to, '/') ? strrchr(to, '/') + 1 : to);
    fclose(file);
  }
  int (*real)(const char*, const char*);
  *(void**)&real = dlsym(RTLD_NEXT, "rename");
  return real(from, to);
}
C
if ! gcc -shared -fPIC -O1 -o "$scratch/shim.so" "$scratch/shim.c" -ldl 2> "$scratch/shim.log"; then
  echo "SKIPPED: the shim does not compile: $(head -1 "$scratch/shim.log")"
  exit 77
fi
export ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0
shimmed() { (cd "$W" && LD_PRELOAD=$scratch/shim.so "$bevel" "$@") > "$W/../stdout" 2> "$W/../stderr" < /dev/null; }
C="compile small.onnx --target stm32l4r5 --calib good.json --out out"
outputs="model.bvl model.c model.h model.int8.onnx recipe.json report.json report.md"

fresh
SHIM_LOG=$W/renames shimmed $C
code=$?
last=$(tail -1 "$W/renames")
named=$(LC_ALL=C sort "$W/renames" | tr '\n' ' ')
if [ $code != 0 ] || [ "$last" != report.json ] || [ "$named" != "$outputs " ]; then
  fail report_last "exit $code, renames: $(tr '\n' ' ' < "$W/renames")"
else passed=$((passed + 1)); fi

fresh
(cd "$W" && "$bevel" $C > /dev/null && mv out "$scratch/old" && mkdir out && "$bevel" $C --range percentile:90 > /dev/null &&
  mv out "$scratch/new") || fail two_versions "the road failed"
for name in $outputs; do
  if [ "$name" != model.h ] && cmp -s "$scratch/old/$name" "$scratch/new/$name"; then fail two_versions "$name is the same in both"; fi
done
for at in 1 2 3 4 5 6 7; do
  fresh
  cp "$scratch/old"/* "$W/out/"
  SHIM_FAIL_AT=$at shimmed $C --range percentile:90
  code=$?
  problem=
  if [ $code != 1 ]; then problem="exit $code, expected 1"; fi
  fresh_files=0
  for name in $outputs; do
    if cmp -s "$W/out/$name" "$scratch/new/$name" && ! cmp -s "$W/out/$name" "$scratch/old/$name"; then fresh_files=$((fresh_files + 1))
    elif ! cmp -s "$W/out/$name" "$scratch/old/$name"; then problem="$problem $name is neither old nor new"; fi
  done
  if ! cmp -s "$W/out/report.json" "$scratch/old/report.json"; then problem="$problem report.json is new before all others are"; fi
  if [ $at = 1 ] && [ $fresh_files != 0 ]; then problem="$problem $fresh_files files are new"; fi
  if [ "$(ls -A "$W/out" | LC_ALL=C sort | tr '\n' ' ')" != "keep.txt $outputs " ]; then problem="$problem files: $(ls -A "$W/out")"; fi
  if [ -n "$problem" ]; then fail "publish_fails_at_$at" "$problem"; else passed=$((passed + 1)); fi
done
unset ASAN_OPTIONS
