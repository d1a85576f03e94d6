# Models that no command may accept: exit 5, the file or node named, the output folder as it was.
compile_of() { check "$1" 5 "$3" compile "$2" --target stm32l4r5 --calib good.json --out out; }
compile_of missing           absent.onnx            'absent\.onnx.*No such file'
compile_of empty             empty.onnx             'empty\.onnx.*empty'
compile_of text              text.onnx              'text\.onnx.*text file'
compile_of git_lfs_pointer   lfs.onnx               'lfs\.onnx.*Git LFS pointer'
compile_of folder            out                    'out.*directory'
compile_of no_graph          no_graph.onnx          'no_graph\.onnx.*no graph'
compile_of cycle             cycle.onnx             "cycle\.onnx.*cycle.*'(first|second)'|cycle\.onnx.*'(first|second)'.*cycle"
compile_of dangling          dangling.onnx          "dangling\.onnx.*'(nowhere|reader)'"
compile_of duplicate_output  duplicate_output.onnx  "duplicate_output\.onnx.*'y'"
compile_of short_initializer short_initializer.onnx "short_initializer\.onnx.*'w'"
compile_of external_outside  external_outside.onnx  "external_outside\.onnx.*'\.\./secret\.bin'"
compile_of external_past_end external_past_end.onnx 'external_past_end\.onnx.*weights\.bin'
prepare='head -c 300 small.onnx > cut.onnx'
compile_of truncated         cut.onnx               'cut\.onnx'
prepare='mv weights.bin w; ln -s w weights.bin'
compile_of external_link     external_past_end.onnx 'symbolic link'
prepare=
compile_of future_opset      future_opset.onnx      'opset is 99'

# The same models through the other commands.
check inspect_missing  5 'absent\.onnx'   inspect absent.onnx
check optimize_text    5 'text file'      optimize text.onnx -o out/o.onnx
check run_cycle        5 'cycle'          run cycle.onnx --inputs bare.npz -o out/o.npz
check eval_empty       5 'empty'          eval empty.onnx --data good.json
check compare_missing  5 'absent\.onnx'   compare small.onnx absent.onnx --data good.json
check emit_no_graph    5 'no graph'       emit-c no_graph.onnx -o out
check quantize_lfs     5 'Git LFS'        quantize lfs.onnx --calib good.json -o out/q.onnx
check calibrate_text   5 'text file'      calibrate text.onnx --calib good.json -o out/p
prepare='printf BVL1garbage > bad.bvl'
check run_bad_bvl      5 'bad\.bvl'       run bad.bvl --inputs bare.npz
prepare=
check run_mystery      5 "mystery"        run unknown_op.onnx --inputs bare.npz
