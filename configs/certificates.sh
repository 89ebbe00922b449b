#!/usr/bin/env bash
# Certificates for zenoh-daemon.json5 and zenoh-reader.json5, with openssl (1.1.1 or newer):
#
#   bash certificates.sh FOLDER daemon NAME HOST...    a daemon, and every name or address that readers reach it by
#   bash certificates.sh FOLDER reader NAME            somebody who watches or prompts; NAME is what access control grants
#
# For example: bash certificates.sh ~/maskd-ca daemon maskd box.lan 192.0.2.7
#              bash certificates.sh ~/maskd-ca reader wall-screen
#
# The first call makes the authority: FOLDER/ca.pem goes to everybody, FOLDER/ca.key signs and never leaves this folder.
# Each call then makes NAME.pem and NAME.key; a name that is there already is left alone. Keys are readable by you only.
set -euo pipefail
umask 077

usage() { sed -n 's/^# \{0,1\}//; 3,5p' "$0" >&2; exit 2; }

[ $# -ge 3 ] || usage
folder=$1 role=$2 name=$3
shift 3
[[ $name =~ ^[A-Za-z0-9._-]+$ && $name != ca ]] || { echo "certificates: name $name: use letters, digits, . _ - (not ca)" >&2; exit 2; }
case $role in
    daemon) [ $# -gt 0 ] || usage
        usage_of_key=serverAuth,clientAuth ;;
    reader) [ $# -eq 0 ] || usage
        usage_of_key=clientAuth ;;
    *) usage ;;
esac
names=
for host in "$@"; do
    kind=DNS
    if [[ $host =~ ^[0-9.]+$ || $host == *:* ]]; then kind=IP; fi
    names+=${names:+,}$kind:$host
done

mkdir -p "$folder"
cd "$folder"
new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ! -e ca.key ]; then
    new_key ca.key
    openssl req -new -key ca.key -subj "/CN=maskd authority" -out "$work/ca.csr"
    printf '%s\n' 'basicConstraints=critical,CA:TRUE,pathlen:0' 'keyUsage=critical,keyCertSign,cRLSign' \
        'subjectKeyIdentifier=hash' >"$work/ca.ext"
    openssl x509 -req -in "$work/ca.csr" -signkey ca.key -sha256 -days 3650 -extfile "$work/ca.ext" -out ca.pem 2>/dev/null
fi
if [ -e "$name.pem" ]; then
    echo "certificates: $folder/$name.pem is there already; remove it to make a new one" >&2
    exit 1
fi
new_key "$name.key"
openssl req -new -key "$name.key" -subj "/CN=$name" -out "$work/$name.csr"
{
    printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' "extendedKeyUsage=$usage_of_key"
    if [ -n "$names" ]; then echo "subjectAltName=$names"; fi
} >"$work/$name.ext"
# Two years: renew in time; zenoh closes links whose certificate has expired (close_link_on_expiration).
openssl x509 -req -in "$work/$name.csr" -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" -sha256 \
    -days 730 -extfile "$work/$name.ext" -out "$name.pem" 2>/dev/null
chmod 644 ca.pem "$name.pem"
echo "certificates: $folder/$name.pem, valid until $(openssl x509 -noout -enddate -in "$name.pem" | cut -d= -f2)"
