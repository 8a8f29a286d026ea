#!/bin/bash
# The stand-in's install.sh. It behaves to its caller as docs/kasm-facts.md, 2 says a real one does
# (flags, prompts, log, exit codes, order of work) and installs below $KASM_BOOTSTRAP_ROOT. It needs
# neither root nor a network, and starts nothing: its "containers" are lines in a file that the
# stand-in for Docker's socket reads.
#
# Words between at signs and the comments `since` and `until` are for release.rs, which writes them out.
set -e

KASM_VERSION="@VERSION@"
PACE="@PACE@"
TEST_MANAGER="@TEST_MANAGER@"
MANAGER_TRIES="@MANAGER_TRIES@"
MANAGER_PAUSE="@MANAGER_PAUSE@"

SCRIPT_PATH="$(readlink -f "$(dirname "$0")")"
# shellcheck source=/dev/null
. "$SCRIPT_PATH/bin/utils/reach"
LOG="./kasm_install_$(date +%s).log"
ARGS=("$@")

ROLE="all"
ACCEPT_EULA="false"
PUBLIC_HOSTNAME=""
MANAGER_HOSTNAME=""
MANAGER_TOKEN=""
SERVER_ID=""
PROVIDER=""
API_HOSTNAME=""
REGISTRATION_TOKEN=""
SERVER_ZONE="default"
PROXY_PORT="443"
SWAP_CHECK="true"
SWAP_SIZE=""
CONNECTION_TEST="true"
START="true"
VERBOSE="false"
HELP="false"
OFFLINE=()

# Says what is done, at the pace this release was built for.
say() {
  echo "$1"
  if [ "$PACE" != "0" ]; then
    sleep "$PACE"
  fi
}

# An error the script knows: the log goes, as it does on success.
give_up() {
  echo "$2"
  rm -f "$LOG"
  exit "$1"
}

# Asks on the terminal. Without an answer it is over.
ask() {
  local answer=""
  printf '%s ' "$1"
  if ! read -r answer || [ -z "$answer" ]; then
    echo
    give_up 1 "No answer."
  fi
  ANSWER="$answer"
}

# Every word of the command line is looked at, values too.
position=0
for word in "${ARGS[@]}"; do
  position=$((position + 1))
  value="${ARGS[position]-}"
  # shellcheck disable=SC2221,SC2222  # only one of the two -x is written out
  case "$word" in
    -S|--role) ROLE="$value" ;;
    -e|--accept-eula) ACCEPT_EULA="true" ;;
    -p|--public-hostname) PUBLIC_HOSTNAME="$value" ;;
    -m|--manager-hostname) MANAGER_HOSTNAME="$value" ;;
    -M|--manager-token) MANAGER_TOKEN="$value" ;;
    -i|--agent-server-id) SERVER_ID="$value" ;;
    -r|--agent-provider) PROVIDER="$value" ;;
    -L|--proxy-port) PROXY_PORT="$value" ;;
    -H|--no-swap-check) SWAP_CHECK="false" ;;
    -J|--swap-size) SWAP_SIZE="$value" ;;
    -n|--api-hostname) API_HOSTNAME="$value" ;;
    -k|--registration-token) REGISTRATION_TOKEN="$value" ;;
    -z|--server-zone) SERVER_ZONE="$value" ;;
    -s|--offline-service) OFFLINE+=("$value") ;;
    -w|--offline-workspaces) OFFLINE+=("$value") ;;
    -x|--offline-plugin) OFFLINE+=("$value") ;; # until 1.16
    -x|--offline-network-plugin) OFFLINE+=("$value") ;; # since 1.17
    -O|--use-rolling-images) ;;
    -f|--use-static-images) ;; # since 1.19
    -X|--skip-v4l2loopback) ;;
    --skip-egress) ;;
    --skip-custom-rclone) ;;
    -b|--no-check-disk) ;;
    -B|--no-check-ports) ;;
    -N|--skip-connection-test) CONNECTION_TEST="false" ;;
    -D|--no-start) START="false" ;;
    -v|--verbose) VERBOSE="true" ;;
    -h|--help) HELP="true" ;;
    -*) echo "Unknown option $word"; exit 1 ;;
  esac
done

if [ "$HELP" = "true" ]; then
  echo "install.sh of release $KASM_VERSION takes:"
  sed -nE 's/^    ((-[A-Za-z]\|)?--[a-z0-9-]+)\).*/  \1/p' "$0"
  exit 0
fi

if [ "$BOOTED" != "true" ] && [ -z "${KASM_BOOTSTRAP_ROOT:-}" ]; then
  echo "KASM_BOOTSTRAP_ROOT is not set, and the stand-in installs nowhere else."
  exit 1
fi
BASE="$ROOT/opt/kasm"
HOME_OF_VERSION="$BASE/$KASM_VERSION"

case "$ROLE" in
  agent|guac) ;;
  *) echo "Invalid Role Defined: $ROLE"; exit 1 ;;
esac

# Opened here and not by tee, which may come so late that it would make a deleted log anew.
exec 7>>"$LOG"
exec > >(tee -a /dev/fd/7) 2>&1
reach start

for file in "${OFFLINE[@]}"; do
  if [ ! -f "$file" ]; then
    give_up 1 "Offline images $file: no such file."
  fi
done

if [ "$ACCEPT_EULA" != "true" ]; then
  ask "Do you accept the licence agreement (y/n)?"
  case "$ANSWER" in
    y|Y|yes) ;;
    *) give_up 1 "The licence agreement was not accepted." ;;
  esac
fi
if [ -z "$PUBLIC_HOSTNAME" ]; then
  ask "Which name or address do others reach this server by?"
  PUBLIC_HOSTNAME="$ANSWER"
fi
case "$ROLE" in
  agent)
    if [ -z "$MANAGER_HOSTNAME" ]; then
      ask "Which name or address has the manager?"
      MANAGER_HOSTNAME="$ANSWER"
    fi
    if [ -z "$MANAGER_TOKEN" ]; then
      give_up 1 "FATAL: an agent needs a manager token."
    fi
    ;;
  guac)
    if [ -z "$API_HOSTNAME" ]; then
      give_up 1 "FATAL: a connection proxy needs an API host."
    fi
    if [ -z "$REGISTRATION_TOKEN" ]; then
      give_up 1 "FATAL: a connection proxy needs a registration token."
    fi
    ;;
esac
if [ "$SWAP_CHECK" = "true" ] && [ -z "$SWAP_SIZE" ]; then
  ask "How much swap should be made (MB)?"
fi

say "Stand-in release $KASM_VERSION, role $ROLE, from $SCRIPT_PATH"
if [ "$VERBOSE" = "true" ]; then
  echo "Public hostname $PUBLIC_HOSTNAME, port $PROXY_PORT"
fi

# Executed, not read: an unpack directory without exec fails here.
"$SCRIPT_PATH/bin/utils/yq_$(uname -m)" --version >/dev/null

say "Checking dependencies"
reach apt
bash "$SCRIPT_PATH/install_dependencies.sh"

say "Creating $HOME_OF_VERSION"
rm -rf "$HOME_OF_VERSION"
mkdir -p "$HOME_OF_VERSION"/{bin,certs,conf/app,conf/nginx,docker,log,tmp,www}
reach wiped
cp -a "$SCRIPT_PATH/bin/." "$HOME_OF_VERSION/bin/"
cp -a "$SCRIPT_PATH/conf/nginx/." "$HOME_OF_VERSION/conf/nginx/"
cp "$SCRIPT_PATH/docker/docker-compose-$ROLE.yaml" "$HOME_OF_VERSION/docker/docker-compose.yaml"

say "Writing the configuration of role $ROLE"
CONF="$HOME_OF_VERSION/conf/app"
case "$ROLE" in
  agent)
    AGENT_YAML="$CONF/agent.app.config.yaml" # until 1.16
    mkdir -p "$CONF/agent" # since 1.17
    AGENT_YAML="$CONF/agent/agent.app.config.yaml" # since 1.17
    cp "$SCRIPT_PATH/conf/app/${AGENT_YAML#"$CONF/"}" "$AGENT_YAML"
    : "${SERVER_ID:=$(cat /proc/sys/kernel/random/uuid)}"
    sed -i "s/server_id:.*/server_id: $SERVER_ID/" "$AGENT_YAML"
    sed -i "s/public_hostname:.*/public_hostname: $PUBLIC_HOSTNAME/" "$AGENT_YAML"
    sed -i "/^agent:/,/^manager:/s/public_port:.*/public_port: $PROXY_PORT/" "$AGENT_YAML"
    if [ -n "$PROVIDER" ]; then
      sed -i "s/provider:.*/provider: $PROVIDER/" "$AGENT_YAML"
    fi
    sed -i "s/hostnames:.*/hostnames: ['$MANAGER_HOSTNAME']/" "$AGENT_YAML"
    echo "Setting Default Manager Token as $MANAGER_TOKEN"
    sed -i "s/token:.*/token: $MANAGER_TOKEN/" "$AGENT_YAML"
    ;;
  guac)
    PROXY_YAMLS=(kasmguac.app.config.yaml passthrough.app.config.yaml rdp_https_gateway.app.config.yaml) # until 1.16
    PROXY_YAMLS=(guac/kasmguac.app.config.yaml rdp_gateway/passthrough.app.config.yaml) # since 1.17
    PROXY_YAMLS+=(rdp_https_gateway/rdp_https_gateway.app.config.yaml) # since 1.17
    for file in "${PROXY_YAMLS[@]}"; do
      mkdir -p "$(dirname "$CONF/$file")"
      cp "$SCRIPT_PATH/conf/app/$file" "$CONF/$file"
      sed -i \
        -e "s/^  id:.*/  id: $(cat /proc/sys/kernel/random/uuid)/" \
        -e "s/SERVER_ADDRESS/$PUBLIC_HOSTNAME/g" \
        -e "s/SERVER_PORT/$PROXY_PORT/g" \
        -e "s/APIHOSTNAME/$API_HOSTNAME/g" \
        -e "s/ZONE/$SERVER_ZONE/g" \
        -e "s/REGISTRATION_TOKEN/$REGISTRATION_TOKEN/g" "$CONF/$file"
    done
    ;;
esac
for name in kasm_nginx.crt kasm_nginx.key; do
  echo "stand-in" >"$HOME_OF_VERSION/certs/$name"
done
chmod 0600 "$HOME_OF_VERSION/certs/kasm_nginx.key"
reach files

# Late, when most of the work is done, and for the agent alone.
if [ "$ROLE" = "agent" ] && [ "$CONNECTION_TEST" = "true" ] && [ "$TEST_MANAGER" = "true" ]; then
  say "Testing the connection to $MANAGER_HOSTNAME"
  case "$MANAGER_HOSTNAME" in
    *:*) HEALTHCHECK="https://$MANAGER_HOSTNAME/api/__healthcheck" ;;
    *) HEALTHCHECK="https://$MANAGER_HOSTNAME:$PROXY_PORT/api/__healthcheck" ;;
  esac
  for ((try = 1; ; try++)); do
    if curl --noproxy '*' -k -s --max-time 5 "$HEALTHCHECK" | grep -q true; then
      break
    fi
    if [ "$try" -ge "$MANAGER_TRIES" ]; then
      give_up 1 "FATAL: the manager at $HEALTHCHECK does not answer."
    fi
    sleep "$MANAGER_PAUSE"
  done
fi

ln -sfn "$HOME_OF_VERSION" "$BASE/current"
ln -sfn "$HOME_OF_VERSION/bin" "$BASE/bin"
bash "$HOME_OF_VERSION/bin/utils/services" install
reach linked

if [ "$START" = "true" ]; then
  say "Starting the containers of role $ROLE"
  bash "$HOME_OF_VERSION/bin/utils/services" start
  reach started
fi

say "Installation complete"
rm -f "$LOG"
