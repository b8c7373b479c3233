#!/bin/sh
# Runs a program that ends when whoever started it ends, even by SIGKILL: with-parent.sh PROGRAM [ARGUMENT…], or $PROGRAM.
exec setpriv --pdeathsig KILL -- ${PROGRAM:+"$PROGRAM"} "$@"
