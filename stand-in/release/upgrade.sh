#!/bin/bash
# The stand-in's upgrade.sh: fewer flags than install.sh; stops, installs with the values of the old
# configuration, whichever layout it has, puts back what install.sh makes anew (a connection proxy's id,
# its auth token, certificates), starts (docs/kasm-facts.md, 3).
set -e

SCRIPT_PATH="$(readlink -f "$(dirname "$0")")"
# shellcheck source=/dev/null
. "$SCRIPT_PATH/bin/utils/reach"
# shellcheck source=/dev/null
. "$SCRIPT_PATH/bin/utils/conf"
BOOTED="@BOOTED@"
FALSE_BUG="@FALSE_BUG@"
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

if [ "$BOOTED" != "true" ] && [ -z "$ROOT" ]; then
  echo "KASM_BOOTSTRAP_ROOT is not set, and the stand-in installs nowhere else."
  exit 1
fi
CURRENT="$ROOT/opt/kasm/current"
if [ ! -d "$CURRENT/conf/app" ]; then
  echo "FATAL: nothing is installed at $CURRENT."
  exit 1
fi
OLD="$(readlink -f "$CURRENT")"

# The path of a configuration file below a version's directory, in whichever layout it lies.
conf_file() { find "$1/conf/app/" -name "$2" | head -n 1; }

old_value() { conf_get "$(conf_file "$OLD" "$1")" "$2"; }

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

reach before
if [ -f "$OLD/bin/utils/services" ]; then
  bash "$OLD/bin/utils/services" stop
else
  bash "$OLD/bin/stop"
fi
reach stopped
bash "$SCRIPT_PATH/install.sh" "${INSTALL[@]}" "${PASSED_ON[@]}"

NEW="$(readlink -f "$CURRENT")"
cp -a "$OLD/certs/." "$NEW/certs/"
if [ "$ROLE" = "guac" ]; then
  for name in kasmguac passthrough rdp_https_gateway; do
    old_file="$(conf_file "$OLD" "$name.app.config.yaml")"
    new_file="$(conf_file "$NEW" "$name.app.config.yaml")"
    for key in id auth_token public_jwt_cert; do
      kept="$(conf_lines "$old_file" "$key")"
      if [ -n "$kept" ]; then
        conf_put "$new_file" "$key" "$kept"
      fi
    done
  done
  # What 1.16.0 did (docs/kasm-facts.md, 3): who gets this cannot register, and never could.
  if [ "$FALSE_BUG" = "true" ]; then
    conf_put "$(conf_file "$NEW" passthrough.app.config.yaml)" auth_token '  auth_token: "false"'
    conf_put "$new_file" auth_token "  auth_token: $(conf_get "$new_file" server_port)"
    for name in passthrough rdp_https_gateway; do
      conf_put "$(conf_file "$NEW" "$name.app.config.yaml")" registration_token ""
    done
  fi
fi
reach carried
if [ "${NO_START:-}" != "true" ]; then
  bash "$NEW/bin/utils/services" start
fi
reach started
echo "Upgrade complete"
