#!/usr/bin/env bash
# What is scripted by hand with kubectl instead of kubemint, for some contexts of a kubeconfig, one after another: the
# same objects, a token, and a kubeconfig.
#
# Arguments: the admin kubeconfig, the directory for the kubeconfigs, the name of what is made, and the contexts.
set -euo pipefail
export KUBECONFIG="$1"
directory="$2" name="$3"
shift 3
mkdir -p "$directory"
for context in "$@"; do
  k() { kubectl --context "$context" "$@" >/dev/null; }
  k create namespace "$name"
  k create serviceaccount "$name" --namespace "$name"
  k create clusterrole "$name" --verb get,list --resource pods
  k create clusterrolebinding "$name" --clusterrole "$name" --serviceaccount "$name:$name"
  token="$(kubectl --context "$context" create token "$name" --namespace "$name" --duration 24h)"
  kubectl config view --raw --minify --context "$context" >"$directory/$context"
  new() { kubectl --kubeconfig "$directory/$context" "$@" >/dev/null; }
  new config set-credentials "$name" --token "$token"
  new config set-context "$context" --user "$name"
  kubectl --kubeconfig "$directory/$context" auth whoami >/dev/null
done
