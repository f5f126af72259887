#!/bin/sh
# Makes deploy/secrets for deploy/compose.yaml: an authority, certificates, passwords, the job key. Never overwrites.
# Needs openssl; the job key is made by `evergrant` (or the command in EVERGRANT). Keep job-key.json: see
# docs/operations.md.
set -eu
cd "$(dirname "$0")"
umask 077
if [ -e secrets ]; then
  echo "deploy/secrets exists: nothing is made" >&2
  exit 1
fi
mkdir secrets.new
cd secrets.new

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 -subj "/CN=evergrant authority" \
  -keyout ca.key -out ca.pem 2>/dev/null
for name in nats redis; do
  printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' "$name" > ext
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
    -keyout "$name.key" -out csr 2>/dev/null
  openssl x509 -req -in csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 -extfile ext -out "$name.pem" 2>/dev/null
done
rm -f csr ext ca.srl

# Each begins with a letter: NATS takes a word of digits in a variable for a number.
password() { printf 'p%s' "$(openssl rand -hex 24)"; }
for role in coordinator operator agent; do
  password > "nats-$role-password"
  printf 'EVERGRANT_DEFAULT_ETL_%s_PASSWORD=%s\n' "$(echo "$role" | tr '[:lower:]' '[:upper:]')" \
    "$(cat "nats-$role-password")" >> nats.env
done
password > redis-password
sed "s/@PASSWORD_SHA256@/$(openssl dgst -sha256 -r redis-password | cut -d' ' -f1)/" ../redis/users.acl.template > users.acl

${EVERGRANT:-evergrant} job-key --tenant default --job etl --out job-key.json
# The identity that the coordinators obtain with; theirs alone.
printf '[default]\n# aws_access_key_id = …\n# aws_secret_access_key = …\n' > aws-credentials

# Containers read them as users of their own; the folder itself stays closed to others.
chmod 0644 ./*
cd ..
mv secrets.new secrets
chmod 0700 secrets
echo "deploy/secrets is made; put the coordinators' identity into secrets/aws-credentials"
