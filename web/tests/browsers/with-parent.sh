#!/bin/sh
# Runs a program that ends with the process that started it, even by SIGKILL: with-parent.sh PROGRAM [ARGUMENT…], or $PROGRAM.
exec setpriv --pdeathsig KILL -- ${PROGRAM:+"$PROGRAM"} "$@"
