# cmake -DOUTPUT=x.cpp -DSYMBOL=name -DFILES="a;b" -DROOT=dir -P embed.cmake
# Writes `const EmbeddedFile name[]` of lib/support/embedded_file.h (path relative to ROOT, text), ended by an entry of null pointers.
set(body "// Generated. Files of the source tree as text.\n#include \"lib/support/embedded_file.h\"\n")
string(APPEND body "const EmbeddedFile ${SYMBOL}[] = {\n")
foreach(file ${FILES})
  file(RELATIVE_PATH relative ${ROOT} ${file})
  file(READ ${file} text)
  string(APPEND body "{\"${relative}\", R\"embedded(${text})embedded\"},\n")
endforeach()
string(APPEND body "{nullptr, nullptr}};\n")
file(WRITE ${OUTPUT} "${body}")
