#!/bin/sh
# Runs a program that ends when its parent ends, even by SIGKILL: with-parent.sh PROGRAM [ARGUMENT…], or $PROGRAM.
exec setpriv --pdeathsig KILL -- ${PROGRAM:+"$PROGRAM"} "$@"
