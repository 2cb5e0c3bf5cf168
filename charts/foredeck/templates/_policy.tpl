{{/*
The parts that policies are put together from. Each field that the API server would fill in is written out, so that what
it holds and what is written here can be compared as they are.
*/}}

{{/* What a policy looks at: resources, operations; of foredeck's kinds, or of Kubernetes' own if `core` says so. */}}
{{- define "foredeck.constraints" -}}
matchConstraints:
  matchPolicy: Equivalent
  namespaceSelector: {}
  objectSelector: {}
  resourceRules:
    - apiGroups: [{{ if .core }}""{{ else }}"foredeck.dev"{{ end }}]
      apiVersions: [{{ if .core }}"v1"{{ else }}"v1alpha1"{{ end }}]
      operations: {{ toJson .operations }}
      resources: {{ toJson .resources }}
      scope: "*"
{{- end }}

{{/* What every validating policy knows of whoever writes. */}}
{{- define "foredeck.variables" -}}
variables:
  - name: user
    expression: request.userInfo.username
  - name: groups
    expression: "has(request.userInfo.groups) ? request.userInfo.groups : []"
  - name: isReceiver
    expression: request.userInfo.username == {{ include "foredeck.user" (dict "root" . "role" "receiver") | toJson }}
  - name: isController
    expression: request.userInfo.username == {{ include "foredeck.user" (dict "root" . "role" "controller") | toJson }}
  - name: isRelay
    expression: request.userInfo.username == {{ include "foredeck.user" (dict "root" . "role" "relay") | toJson }}
  - name: isAdministrator
    expression: variables.groups.exists(group, group in {{ toJson .Values.admission.administrators }})
{{- end }}

{{/*
Whether spec.<.> is set or changed: a CEL expression. Whoever changes it is who did it; whoever writes what stands there, or
leaves it out of a patch or an apply, isn't.
*/}}
{{- define "foredeck.sets" -}}
has(object.spec.{{ . }}) && (request.operation == 'CREATE' || !has(oldObject.spec.{{ . }}) || object.spec.{{ . }} != oldObject.spec.{{ . }})
{{- end }}

{{/* Whether the spec of a freeze is written: a CEL expression. */}}
{{- define "foredeck.writes" -}}
request.operation != 'DELETE' && (request.operation == 'CREATE' || object.spec != oldObject.spec)
{{- end }}

{{/* A binding that refuses everywhere. */}}
{{- define "foredeck.binding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ . }}
spec:
  policyName: {{ . }}
  validationActions: [Deny]
{{- end }}

{{/*
Whether a user name is one that the receiver may speak for: a CEL expression over `name`, or nothing. The whole name has to
be such: "oidc-admin:alice@corp.example" is somebody else than "alice@corp.example".
*/}}
{{- define "foredeck.known" -}}
{{- $around := splitList "{email}" .root.Values.identity.usernameFormat -}}
{{- $before := index $around 0 -}}
{{- $domains := list -}}
{{- range .root.Values.identity.emailDomains }}{{ $domains = append $domains (regexQuoteMeta .) }}{{ end -}}
{{- if $domains -}}
{{- $whole := printf "^%s[^:/#@\\s]+@(%s)%s$" ($before | lower | regexQuoteMeta) (join "|" $domains) (index $around 1 | lower | regexQuoteMeta) -}}
({{ with $before }}{{ $.name }}.startsWith({{ toJson . }}) && {{ end -}}
{{ .name }}.lowerAscii().matches({{ toJson $whole }}) || {{ .name }} in {{ toJson .root.Values.identity.usernames }})
{{- else -}}
true
{{- end -}}
{{- end }}

{{/* Whether a group is one that the receiver may name: a CEL expression over `group`. */}}
{{- define "foredeck.prefixed" -}}
(!group.lowerAscii().startsWith('system:') && {{ toJson .Values.identity.groupPrefixes }}.exists(prefix, group.startsWith(prefix)))
{{- end }}

{{/*
What holds for an actor: `field` is where it stands, `when` the CEL expression under which it is looked at, `does` what they
do. Everybody is themselves, and no more; the receiver speaks for people in Slack, and for nobody else.
*/}}
{{- define "foredeck.actor" -}}
{{- $actor := printf "object.%s" .field -}}
{{- $when := printf "(%s)" .when -}}
{{- $given := printf "!%s || !has(%s)" $when $actor -}}
- expression: "!{{ $when }} || has({{ $actor }})"
  messageExpression: >-
    '{{ .field }} is missing, and it says who {{ .does }}: write {{ .field }}.username: "' + variables.user + '", which is
    your own user name here'
  reason: Invalid
- expression: >-
    {{ $given }} || variables.isReceiver || {{ $actor }}.username == variables.user
  messageExpression: >-
    '{{ .field }}.username is "' + {{ $actor }}.username + '", and you are "' + variables.user + '": nobody {{ .does }} in
    the name of another. Write your own user name'
  reason: Forbidden
- expression: >-
    {{ $given }} || variables.isReceiver || !has({{ $actor }}.groups) ||
    {{ $actor }}.groups.all(group, group in variables.groups)
  messageExpression: >-
    '{{ .field }}.groups names groups that "' + variables.user + '" is not in: ' +
    {{ $actor }}.groups.filter(group, !(group in variables.groups)).join(', ') + '. Leave them out'
  reason: Forbidden
- expression: >-
    {{ $given }} || variables.isReceiver || !has({{ $actor }}.slack)
  message: >-
    {{ .field }}.slack is for those who do it in Slack, and only foredeck's receiver writes it: leave it out
  reason: Forbidden
- expression: >-
    {{ $given }} || !variables.isReceiver || has({{ $actor }}.slack)
  message: >-
    {{ .field }}.slack is missing: foredeck's receiver speaks for people in Slack only, and has to say for whom
  reason: Forbidden
- expression: >-
    {{ $given }} || !variables.isReceiver || !{{ $actor }}.username.lowerAscii().startsWith('system:')
  messageExpression: >-
    '{{ .field }}.username is "' + {{ $actor }}.username + '": nobody in Slack is one of Kubernetes\' own users'
  reason: Forbidden
- expression: >-
    {{ $given }} || !variables.isReceiver ||
    {{ include "foredeck.known" (dict "root" .root "name" (printf "%s.username" $actor)) }}
  messageExpression: >-
    '{{ .field }}.username is "' + {{ $actor }}.username + '", which is in none of the e-mail domains that foredeck\'s
    receiver may speak for. The platform team lists them in the chart\'s identity.emailDomains and identity.usernames'
  reason: Forbidden
- expression: >-
    {{ $given }} || !variables.isReceiver || !has({{ $actor }}.groups) ||
    {{ $actor }}.groups.all(group, {{ include "foredeck.prefixed" .root }})
  messageExpression: >-
    '{{ .field }}.groups names groups that foredeck\'s receiver may not: ' +
    {{ $actor }}.groups.filter(group, !{{ include "foredeck.prefixed" .root }}).join(', ') +
    '. Each has to begin with one of {{ join ", " .root.Values.identity.groupPrefixes }} (the chart\'s
    identity.groupPrefixes)'
  reason: Forbidden
{{- end }}

{{/* Who else may write what is foredeck's own, where anybody may. */}}
{{- define "foredeck.byhand" -}}
{{- with .Values.admission.administrators }}. Where it has to be mended by hand, a member of {{ join ", " . }} may{{ end -}}
{{- end }}

{{/* Who writes a status that is one role's alone: `role` is its name, `mine` the variable that says it writes. */}}
{{- define "foredeck.written" -}}
- expression: variables.{{ .mine }} || variables.isAdministrator
  messageExpression: >-
    '"' + variables.user + '" may not write the status of ' + request.resource.resource + ': it is foredeck\'s {{ .role }}\'s
    alone{{ include "foredeck.byhand" .root }}'
  reason: Forbidden
{{- end }}

{{/* What keeps one of Kubernetes' own kinds from use: `when` it concerns foredeck, nothing is written `unless` that holds. */}}
{{- define "foredeck.kept" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ .name }}
spec:
  failurePolicy: Fail
  {{- include "foredeck.constraints" (dict "core" true "operations" .operations "resources" (list .resource)) | nindent 2 }}
  matchConditions:
    - name: foredeck-vault
      expression: {{ toJson .when }}
  {{- include "foredeck.variables" .root | nindent 2 }}
  validations:
    - expression: {{ toJson .unless }}
      message: >-
        {{ .message }}
      reason: Forbidden
---
{{ include "foredeck.binding" .name }}
{{- end }}
