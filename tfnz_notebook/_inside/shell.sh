# The shell behind %%tf_bash: cells of a notebook, run by a container's own bash, or any sh of POSIX.
#
# A cell is "run NAME LINES" on stdin, and that many lines. What it writes goes to stdout as it comes, between two marks;
# what became of it to stderr. Marks and answers are escape sequences that show nothing; see python.py beside this.
exec 8<&0 9>&2 0</dev/null 2>&1
# Once BusyBox 1.38 has met a signal that has a trap, its "read" reads no more and turns for ever, or until a time is up
# between two of its looks at the clock. Then a new sh reads for it, and for cells, and says each value and a line's end.
tfnz_turns=
[ "$BASH_VERSION" ] || case $(sh --help 2>&1) in "BusyBox v1.38."*) tfnz_turns=yes ;; esac
tfnz_reads='read() {
  local OPTIND=1 tfnz_said tfnz_code
  while getopts rsd:n:p:t:u: tfnz_name; do :; done
  tfnz_said=$(command sh -c "$tfnz_reader" sh "${IFS- 	$tfnz_newline}" "$OPTIND" "$@")
  tfnz_code=$?
  shift $((OPTIND - 1))
  for tfnz_name in "${@:-REPLY}"; do
    eval "$tfnz_name=\${tfnz_said%%\"\$tfnz_newline\"*}"
    tfnz_said=${tfnz_said#*"$tfnz_newline"}
  done
  return $tfnz_code
}'
tfnz_reader='IFS=$1; tfnz_names=$2; shift 2; read "$@"; tfnz_code=$?; shift $((tfnz_names - 1))
for tfnz_name in "${@:-REPLY}"; do eval "printf %s\\\\n \"\$$tfnz_name\""; done; printf .; exit $tfnz_code'
tfnz_newline='
'
# An interrupt is for the cell that runs: in some shells one of "read" would end that, and them.
trap '' INT
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
  # What is interrupted returns: the cell, or the function that runs. Some shells forget with which code.
  tfnz_interrupted=
  trap 'tfnz_interrupted=130; return 130' INT
  # Not eval: there is no return from that. With "command" an error in the syntax is no end of ours.
  command . /dev/fd/7 7<<TFNZ 8<&- 9>&-
$tfnz_code
TFNZ
  tfnz_code=$?
  trap '' INT
  tfnz_code=${tfnz_interrupted:-$tfnz_code}
  printf '\033_tfnz:%s:1\033\\' "$tfnz_cell"
  printf '\033_tfnz.{"is_":"done","cell":"%s","number":1,"code":%d}\033\\' "$tfnz_cell" "$tfnz_code" >&9
  if [ "$tfnz_turns" ] && ! read -t 0.001 tfnz_line <<TFNZ; then tfnz_turns= && eval "$tfnz_reads"; fi
a line
TFNZ
done
