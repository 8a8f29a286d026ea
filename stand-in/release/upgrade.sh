#!/bin/bash
# The stand-in's upgrade.sh: fewer flags than install.sh; stops, installs with the values of the old
# configuration, starts (docs/kasm-facts.md, 3).
set -e

SCRIPT_PATH="$(readlink -f "$(dirname "$0")")"
ARGS=("$@")
ROLE="all"
REGISTRATION_TOKEN=""
PUBLIC_HOSTNAME=""
API_HOSTNAME=""
PROXY_PORT=""
PASSED_ON=()

position=0
for word in "${ARGS[@]}"; do
  position=$((position + 1))
  value="${ARGS[position]-}"
  # shellcheck disable=SC2221,SC2222  # only one of the two -x is written out
  case "$word" in
    -S|--role) ROLE="$value" ;;
    -k|--registration-token) REGISTRATION_TOKEN="$value" ;;
    -p|--public-hostname) PUBLIC_HOSTNAME="$value" ;;
    -n|--api-hostname) API_HOSTNAME="$value" ;;
    -L|--proxy-port) PROXY_PORT="$value" ;;
    -s|--offline-service) PASSED_ON+=(-s "$value") ;;
    -x|--offline-plugin) PASSED_ON+=(-x "$value") ;; # until 1.16
    -x|--offline-network-plugin) PASSED_ON+=(-x "$value") ;; # since 1.17
    -b|--no-check-disk) PASSED_ON+=(-b) ;;
    -D|--no-start) NO_START="true" ;;
    -v|--verbose) PASSED_ON+=(-v) ;;
    -h|--help)
      echo "upgrade.sh takes:"
      sed -nE 's/^    ((-[A-Za-z]\|)?--[a-z0-9-]+)\).*/  \1/p' "$0"
      exit 0
      ;;
    -*) echo "Unknown option $word"; exit 1 ;;
  esac
done

if [ -z "${KASM_BOOTSTRAP_ROOT:-}" ]; then
  echo "KASM_BOOTSTRAP_ROOT is not set, and the stand-in installs nowhere else."
  exit 1
fi
OLD="$KASM_BOOTSTRAP_ROOT/opt/kasm/current"
if [ ! -d "$OLD/conf/app" ]; then
  echo "FATAL: nothing is installed at $OLD."
  exit 1
fi

# The first value of a key in an old configuration file, in whichever layout it lies.
old_value() {
  find "$OLD/conf/app/" -name "$1" -exec sed -nE "s/^  $2: *\[?'?([^]']*)'?\]?\$/\1/p" {} + | head -n 1
}

INSTALL=(-e -H -D -N -S "$ROLE")
case "$ROLE" in
  agent)
    FILE="agent.app.config.yaml"
    INSTALL+=(-i "$(old_value "$FILE" server_id)" -p "$(old_value "$FILE" public_hostname)")
    INSTALL+=(-r "$(old_value "$FILE" provider)" -m "$(old_value "$FILE" hostnames)")
    INSTALL+=(-M "$(old_value "$FILE" token)" -L "${PROXY_PORT:-$(old_value "$FILE" public_port)}")
    ;;
  guac)
    if [ -z "$REGISTRATION_TOKEN" ]; then
      echo "FATAL: a connection proxy needs a registration token."
      exit 1
    fi
    FILE="kasmguac.app.config.yaml"
    INSTALL+=(-p "${PUBLIC_HOSTNAME:-$(old_value "$FILE" server_address)}")
    INSTALL+=(-n "${API_HOSTNAME:-$(old_value "$FILE" hostnames)}" -z "$(old_value "$FILE" zone)")
    INSTALL+=(-k "$REGISTRATION_TOKEN" -L "${PROXY_PORT:-$(old_value "$FILE" server_port)}")
    ;;
  *) echo "Invalid Role Defined: $ROLE"; exit 1 ;;
esac

bash "$OLD/bin/stop"
bash "$SCRIPT_PATH/install.sh" "${INSTALL[@]}" "${PASSED_ON[@]}"
if [ "${NO_START:-}" != "true" ]; then
  bash "$OLD/bin/start"
fi
echo "Upgrade complete"
