{{/*
Who foredeck's Pods speak to and who to them: decided here once, and written as NetworkPolicies or Cilium's by
networkpolicies.yaml and ciliumnetworkpolicies.yaml.

A way out is a dict: `cidrs`, `pods`, `ports`; `internet` where all public addresses are meant; `fqdns` (hosts with their
ports) and `entities`, which only Cilium knows; `dns` for the name servers.
*/}}

{{/* Each set of Pods that runs: its `component`, and its `roles`. */}}
{{- define "foredeck.network.components" -}}
{{- $roles := list "controller" -}}
{{- if .Values.slack.enabled -}}
{{- $roles = list "controller" "receiver" "relay" -}}
{{- end -}}
{{- if eq .Values.mode "single" -}}
{{ list (dict "name" "foredeck" "component" "all" "roles" $roles) | toYaml }}
{{- else -}}
{{- $components := list -}}
{{- range $roles -}}
{{- $components = append $components (dict "name" (printf "foredeck-%s" .) "component" . "roles" (list .)) -}}
{{- end -}}
{{ toYaml $components }}
{{- end -}}
{{- end }}

{{/* The ways out of `roles`, each once. */}}
{{- define "foredeck.network.out" -}}
{{- $policy := .root.Values.networkPolicy -}}
{{- $dns := merge (dict "dns" true) $policy.dns -}}
{{- $server := dict "cidrs" $policy.apiServer.cidrs "ports" $policy.apiServer.ports "entities" (list "kube-apiserver") -}}
{{- $ways := list $dns $server -}}
{{- range .roles -}}
{{- $ways = concat $ways (include (printf "foredeck.network.out.%s" .) $.root | fromYamlArray) -}}
{{- end -}}
{{- with .root.Values.tracing.endpoint -}}
{{- $hosts := list (include "foredeck.network.ofUrl" . | fromYaml) -}}
{{- $ways = concat $ways (include "foredeck.network.direct" (dict "root" $.root "block" "tracing" "hosts" $hosts "because" "tracing.endpoint") | fromYamlArray) -}}
{{- end -}}
{{ uniq $ways | toYaml }}
{{- end }}

{{- define "foredeck.network.out.controller" -}}
{{- $values := .Values -}}
{{- $ways := list -}}
{{- $gates := include "foredeck.network.ofPatterns" (dict "patterns" $values.controller.allowGateHosts "ports" $values.networkPolicy.gate.ports) | fromYamlArray -}}
{{- $ways = concat $ways (include "foredeck.network.direct" (dict "root" . "block" "gate" "hosts" $gates "because" "controller.allowGateHosts") | fromYamlArray) -}}
{{- if $values.vault.enabled -}}
{{- $vaults := include "foredeck.network.ofPatterns" (dict "patterns" $values.controller.allowVaultHosts "ports" $values.networkPolicy.vault.ports) | fromYamlArray -}}
{{- $ways = concat $ways (include "foredeck.network.direct" (dict "root" . "block" "vault" "hosts" $vaults "because" "controller.allowVaultHosts") | fromYamlArray) -}}
{{- end -}}
{{- $ways = concat $ways (include "foredeck.network.git" . | fromYamlArray) -}}
{{- with dig "audit" "url" "" $values.controller -}}
{{- $hosts := list (include "foredeck.network.ofUrl" . | fromYaml) -}}
{{- $ways = concat $ways (include "foredeck.network.outward" (dict "root" $ "block" "audit" "hosts" $hosts) | fromYamlArray) -}}
{{- end -}}
{{ toYaml $ways }}
{{- end }}

{{- define "foredeck.network.out.receiver" -}}
{{- $ways := include "foredeck.network.out.relay" . | fromYamlArray -}}
{{- with .Values.okta.url -}}
{{- $hosts := list (include "foredeck.network.ofUrl" . | fromYaml) -}}
{{- $ways = concat $ways (include "foredeck.network.outward" (dict "root" $ "block" "okta" "hosts" $hosts) | fromYamlArray) -}}
{{- end -}}
{{- $ways = concat $ways (include "foredeck.network.git" . | fromYamlArray) -}}
{{- $ways = concat $ways (include "foredeck.network.secrets" (dict "root" . "role" "receiver") | fromYamlArray) -}}
{{ toYaml $ways }}
{{- end }}

{{/* The way to repositories, where they are asked. */}}
{{- define "foredeck.network.git" -}}
{{- if .Values.git.enabled -}}
{{- $hosts := include "foredeck.network.ofPatterns" (dict "patterns" .Values.git.allowHosts "ports" .Values.networkPolicy.git.ports) | fromYamlArray -}}
{{ include "foredeck.network.outward" (dict "root" . "block" "git" "hosts" $hosts) }}
{{- else -}}
[]
{{- end -}}
{{- end }}

{{- define "foredeck.network.out.relay" -}}
{{- $hosts := list (dict "host" "slack.com" "ports" (list 443)) (dict "host" "*.slack.com" "ports" (list 443)) -}}
{{- with .Values.slack.apiUrl -}}
{{- $hosts = append $hosts (include "foredeck.network.ofUrl" . | fromYaml) -}}
{{- end -}}
{{- $ways := include "foredeck.network.outward" (dict "root" . "block" "slack" "hosts" $hosts) | fromYamlArray -}}
{{- $ways = concat $ways (include "foredeck.network.secrets" (dict "root" . "role" "relay") | fromYamlArray) -}}
{{ toYaml $ways }}
{{- end }}

{{/* The way to secretsVault, for a role that reads secrets there. */}}
{{- define "foredeck.network.secrets" -}}
{{- $address := .root.Values.secretsVault.address -}}
{{- if and $address (include "foredeck.vaulted" (dict "root" .root "roles" (list .role))) -}}
{{- $hosts := list (include "foredeck.network.ofUrl" $address | fromYaml) -}}
{{ include "foredeck.network.direct" (dict "root" .root "block" "secretsVault" "hosts" $hosts "because" "secretsVault.address") }}
{{- else -}}
[]
{{- end -}}
{{- end }}

{{/*
The ways to what is reached through the proxy, where there is one, and else directly. The block's own peers are open besides
it: what proxy.noProxy lists is among them.
*/}}
{{- define "foredeck.network.outward" -}}
{{- $policy := .root.Values.networkPolicy -}}
{{- $own := get $policy .block -}}
{{- $proxy := $policy.egressProxy -}}
{{- $ports := include "foredeck.network.ports" (dict "ports" $own.ports "hosts" .hosts) | fromYamlArray -}}
{{- $ways := list -}}
{{- if or $own.cidrs $own.pods -}}
{{- $ways = append $ways (dict "cidrs" $own.cidrs "pods" $own.pods "ports" $ports) -}}
{{- end -}}
{{- if or $proxy.cidrs $proxy.pods -}}
{{- $ways = append $ways $proxy -}}
{{- else if and $policy.cilium.enabled .root.Values.proxy.https -}}
{{- $host := include "foredeck.network.ofUrl" .root.Values.proxy.https | fromYaml -}}
{{- include "foredeck.network.named" (dict "host" $host.host "block" "egressProxy") -}}
{{- $ways = append $ways (dict "fqdns" (list $host)) -}}
{{- end -}}
{{- if $ways -}}
{{ toYaml $ways }}
{{- else if $policy.cilium.enabled -}}
{{- range .hosts -}}
{{- include "foredeck.network.named" (dict "host" .host "block" $.block) -}}
{{- end -}}
{{ list (dict "fqdns" .hosts) | toYaml }}
{{- else -}}
{{ list (dict "internet" true "ports" $ports) | toYaml }}
{{- end -}}
{{- end }}

{{/* The ways to what is never reached through a proxy: its peers and, with Cilium, its names. */}}
{{- define "foredeck.network.direct" -}}
{{- $policy := .root.Values.networkPolicy -}}
{{- $own := get $policy .block -}}
{{- $named := or $own.cidrs $own.pods -}}
{{- $ways := list -}}
{{- if $named -}}
{{- $ports := include "foredeck.network.ports" (dict "ports" $own.ports "hosts" .hosts) | fromYamlArray -}}
{{- $ways = append $ways (dict "cidrs" $own.cidrs "pods" $own.pods "ports" $ports) -}}
{{- else if and .hosts (not $policy.cilium.enabled) -}}
{{- fail (printf "networkPolicy.%s names nobody, and %s is set: no packet would get there. List its addresses under networkPolicy.%s.cidrs, or its Pods under networkPolicy.%s.pods" .block .because .block .block) -}}
{{- end -}}
{{- if $policy.cilium.enabled -}}
{{- $fqdns := list -}}
{{- range .hosts -}}
{{- if not (and $named (include "foredeck.network.inside" .host)) -}}
{{- include "foredeck.network.named" (dict "host" .host "block" $.block) -}}
{{- $fqdns = append $fqdns . -}}
{{- end -}}
{{- end -}}
{{- with $fqdns -}}
{{- $ways = append $ways (dict "fqdns" .) -}}
{{- end -}}
{{- end -}}
{{ toYaml $ways }}
{{- end }}

{{/* A block's ports, and those that its hosts name. */}}
{{- define "foredeck.network.ports" -}}
{{- $ports := list -}}
{{- range .ports -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
{{- range .hosts -}}
{{- range .ports -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
{{- end -}}
{{ uniq $ports | toYaml }}
{{- end }}

{{/* The hosts of patterns as controller.allowGateHosts has them; any of `ports` where one has none. */}}
{{- define "foredeck.network.ofPatterns" -}}
{{- $hosts := list -}}
{{- range .patterns -}}
{{- $port := regexFind ":[0-9]+$" . -}}
{{- $host := trimSuffix $port . | trimAll "[]" | trimSuffix "." | lower -}}
{{- $ports := $.ports -}}
{{- if $port -}}
{{- $ports = list (trimPrefix ":" $port | int) -}}
{{- end -}}
{{- $hosts = append $hosts (dict "host" $host "ports" $ports) -}}
{{- end -}}
{{ toYaml $hosts }}
{{- end }}

{{/* The host of a URL, with its port. */}}
{{- define "foredeck.network.ofUrl" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host -}}
{{- $ports := list (ternary 80 443 (eq $url.scheme "http")) -}}
{{- if $port -}}
{{- $ports = list (trimPrefix ":" $port | int) -}}
{{- end -}}
{{ dict "host" (trimSuffix $port $url.host | trimAll "[]" | trimSuffix "." | lower) "ports" $ports | toYaml }}
{{- end }}

{{/* Not empty for a host of the cluster's own: Cilium knows Pods by their labels, and never by a name. */}}
{{- define "foredeck.network.inside" -}}
{{- if not (contains ":" .) -}}
{{- if or (not (contains "." .)) (regexMatch "[.](svc|svc[.].*|cluster[.]local)$" .) -}}
yes
{{- end -}}
{{- end -}}
{{- end }}

{{/* Refuses what Cilium can't know by its name, and what would be every name. */}}
{{- define "foredeck.network.named" -}}
{{- if and (contains "*" .host) (or (contains ":" .host) (contains "*" (splitList "." .host | last)) (regexMatch "^[0-9.*]+$" .host)) -}}
{{- fail (printf "%q stands for hosts that are no one's: with networkPolicy.cilium.enabled a pattern has to end in a domain, such as *.corp.example. Write it so, or list addresses under networkPolicy.%s.cidrs and leave Cilium's policies off" .host .block) -}}
{{- end -}}
{{- if include "foredeck.network.inside" .host -}}
{{- fail (printf "%q is within the cluster, where Cilium knows Pods by their labels, and never by a name. List them under networkPolicy.%s.pods" .host .block) -}}
{{- end -}}
{{- end }}

{{/* What no schema can say. Each sentence says which value, why, and what to do. */}}
{{- define "foredeck.network.checks" -}}
{{- $policy := .Values.networkPolicy -}}
{{- $cilium := $policy.cilium.enabled -}}
{{- if and (not $policy.apiServer.cidrs) (not $cilium) -}}
{{- fail (printf "networkPolicy.apiServer.cidrs is empty: foredeck's Pods would reach no API server. List its addresses, each with /32 or /128, and its port under networkPolicy.apiServer.ports, as this shows them:\n\n  %s\n" (include "foredeck.network.command" .)) -}}
{{- end -}}
{{- if not (or $policy.dns.cidrs $policy.dns.pods) -}}
{{- fail "networkPolicy.dns names nobody: no name could be looked up. List the cluster's name servers, such as networkPolicy.dns.pods=[{namespace: kube-system, labels: {k8s-app: kube-dns}}]" -}}
{{- end -}}
{{- if and .Values.proxy.https (not $cilium) (not (or $policy.egressProxy.cidrs $policy.egressProxy.pods)) -}}
{{- fail "networkPolicy.egressProxy names nobody, and proxy.https is set: nothing would get through. List the proxy's addresses under networkPolicy.egressProxy.cidrs, or its Pods under networkPolicy.egressProxy.pods" -}}
{{- end -}}
{{- if and .Values.slack.enabled (eq .Values.slack.transport "http") (not $cilium) (not (or $policy.ingressController.cidrs $policy.ingressController.pods)) -}}
{{- fail "networkPolicy.ingressController names nobody, and slack.transport is http: nothing that Slack sends would arrive. List the Pods that send it on, such as networkPolicy.ingressController.pods=[{namespace: ingress-nginx}]" -}}
{{- end -}}
{{- if and .Values.monitoring.podMonitor.enabled (not (or $policy.monitoring.cidrs $policy.monitoring.pods)) -}}
{{- fail "networkPolicy.monitoring names nobody, and monitoring.podMonitor.enabled is true: Prometheus would reach no Pod. List its Pods, such as networkPolicy.monitoring.pods=[{namespace: monitoring}]" -}}
{{- end -}}
{{- range $block, $peers := $policy -}}
{{- if kindIs "map" $peers -}}
{{- if and (not $peers.ports) (not (has $block (list "cilium" "monitoring" "ingressController"))) -}}
{{- fail (printf "networkPolicy.%s.ports is empty, and that would open every port: name those that are used" $block) -}}
{{- end -}}
{{- range $peers.cidrs -}}
{{- $bits := splitList "/" . | last | int -}}
{{- if lt $bits (ternary 7 8 (contains ":" .)) -}}
{{- fail (printf "networkPolicy.%s.cidrs has %s, which is half the world: name it more closely, by at least 8 bits of an IPv4 address or 7 of an IPv6 one" $block .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Shows the API server's own addresses and ports. */}}
{{- define "foredeck.network.command" -}}
kubectl get endpointslices --namespace default --selector kubernetes.io/service-name=kubernetes --output jsonpath='{range .items[*]}{.endpoints[*].addresses[*]}{" port "}{.ports[*].port}{"\n"}{end}'
{{- end }}
