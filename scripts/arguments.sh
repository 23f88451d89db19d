# shellcheck shell=sh
# What the scripts beside this file have in common: they read it first, with the arguments they were given.
# A script's help is the comment at its head, and its usage are the lines there that begin with its name. --help anywhere
# before "--" prints it.

help() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

fail() {
    echo "$(basename "$0" .sh): $*" >&2
    exit 2
}

unknown() { # ARGUMENT
    {
        echo "$(basename "$0" .sh): unknown argument '$1'; usage:"
        sed -n '2,/^[^#]/s/^#\(   scripts\/\)/\1/p' "$0"
    } >&2
    exit 2
}

needs_value() { # "$@", of which the first is the option
    [ $# -ge 2 ] || fail "$1 needs a value"
    [ -n "$2" ] || fail "$1 is empty; give it a value, or leave it out"
}

# Whether an extended regular expression, which has no blanks, matches all of a text; a line break is none of its letters.
matches() { # TEXT EXPRESSION
    printf '%s' "$1" | tr '\n' ' ' | LC_ALL=C grep -Eqx -e "$2"
}

absolute() { # PATH
    case $1 in
    /*) echo "$1" ;;
    *) echo "$PWD/$1" ;;
    esac
}

# A folder that stands for /opt/ml, where nothing of an earlier job may be lost.
is_free() { # FOLDER
    for part in input model output; do
        [ ! -e "$1/$part" ] || fail "$1/$part is there already; remove it, or name another folder"
    done
}

for argument in "$@"; do
    case $argument in
    --) break ;;
    -h | --help) help && exit 0 ;;
    esac
done
