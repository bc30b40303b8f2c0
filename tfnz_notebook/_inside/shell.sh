# The shell behind %%tf_bash: cells of a notebook, run by a container's own bash, or any sh of POSIX.
#
# A cell is "run NAME LINES" on stdin, and that many lines. What it writes goes to stdout as it comes, between two marks;
# what became of it to stderr. Marks and answers are escape sequences that show nothing; see python.py beside this.
exec 8<&0 9>&2 0</dev/null 2>&1
# What is interrupted returns: the cell, or the function that runs. Some shells forget with which code.
trap 'tfnz_interrupted=130; return 130' INT
while IFS=' ' read -r tfnz_do tfnz_cell tfnz_lines <&8; do
  if [ "$tfnz_do" = hello ]; then
    printf '\033_tfnz.{"is_":"ready","nonce":"%s","version":"%s"}\033\\' "$tfnz_cell" "$BASH_VERSION" >&9
    continue
  fi
  tfnz_code=
  while [ "$tfnz_lines" -gt 0 ]; do
    IFS= read -r tfnz_line <&8
    tfnz_code="$tfnz_code$tfnz_line
"
    tfnz_lines=$((tfnz_lines - 1))
  done
  printf '\033_tfnz:%s:0\033\\' "$tfnz_cell"
  # Not eval: there is no return from that. With "command" an error in the syntax is no end of ours.
  tfnz_interrupted=
  command . /dev/fd/7 7<<TFNZ 8<&- 9>&-
$tfnz_code
TFNZ
  tfnz_code=$?
  tfnz_code=${tfnz_interrupted:-$tfnz_code}
  printf '\033_tfnz:%s:1\033\\' "$tfnz_cell"
  printf '\033_tfnz.{"is_":"done","cell":"%s","number":1,"code":%d}\033\\' "$tfnz_cell" "$tfnz_code" >&9
done
