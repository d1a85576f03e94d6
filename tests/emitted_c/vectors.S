/* The test vectors, as they lie in the folder. */
  .section .rodata
  .global bevel_inputs, bevel_inputs_end, bevel_outputs, bevel_outputs_end
  .balign 16
bevel_inputs:
  .incbin "inputs.bin"
bevel_inputs_end:
  .balign 16
bevel_outputs:
  .incbin "outputs.bin"
bevel_outputs_end:
#if defined(__linux__) && defined(__ELF__)
  .section .note.GNU-stack,"",%progbits
#endif
