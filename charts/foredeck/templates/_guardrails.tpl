{{/* What may be written of what keeps requests from starting: locks, a rollback's hold, freezes and the stop button. */}}

{{/* May whoever writes do `verb` on the Environment of that name, and where `application` is given on that too: CEL. */}}
{{- define "foredeck.may" -}}
authorizer.group('foredeck.dev').resource('environments').namespace(request.namespace).name({{ .environment }}).check('{{ .verb }}').allowed()
{{- with .application }} &&
authorizer.group('foredeck.dev').resource('applications').namespace(request.namespace).name({{ . }}).check('{{ $.verb }}').allowed()
{{- end }}
{{- end }}

{{/* Whether `name`, a CEL expression, is who writes: user names of e-mail's form compare without regard to case. */}}
{{- define "foredeck.same" -}}
({{ .name }} == variables.user || (variables.user.contains('@') && {{ .name }}.lowerAscii() == variables.user.lowerAscii()))
{{- end }}

{{/* Who deletes for others: what a namespace leaves behind, and what had an owner. */}}
{{- define "foredeck.cleaner" -}}
- name: isCleaner
  expression: >-
    variables.user in ['system:serviceaccount:kube-system:namespace-controller',
    'system:serviceaccount:kube-system:generic-garbage-collector', 'system:kube-controller-manager']
{{- end }}

{{/*
What is known of a lock: `environment` and `application` are CEL expressions of their names, the second only for a target.
A lock's time is over when the controller says so of this very spec, since admission has no clock. Of a target it says Held
where nothing but a rollback's hold is left. Whoever deletes what is locked lifts its lock: `it` is what is written or deleted.
*/}}
{{- define "foredeck.lock.variables" -}}
- name: it
  expression: "request.operation == 'DELETE' ? oldObject : object"
- name: sets
  expression: >-
    request.operation != 'DELETE' && {{ include "foredeck.sets" "lock" }}
- name: locks
  expression: >-
    request.operation != 'DELETE' &&
    (request.operation == 'CREATE' ? has(object.spec.lock) : object.spec.?lock != oldObject.spec.?lock)
- name: isEnding
  expression: >-
    request.operation == 'DELETE' && namespaceObject != null && has(namespaceObject.metadata.deletionTimestamp)
{{ include "foredeck.cleaner" . }}
- name: lifts
  expression: >-
    variables.locks || (request.operation == 'DELETE' &&
    !(variables.isEnding || variables.isCleaner || variables.isAdministrator))
- name: isOver
  expression: >-
    request.operation != 'CREATE' && oldObject.?status.?conditions.orValue([]).exists(condition,
    condition.type == 'Locked' && (condition.status == 'False'{{ if .application }} || condition.reason == 'Held'{{ end }}) &&
    has(condition.observedGeneration) && condition.observedGeneration == oldObject.metadata.generation)
- name: isLocked
  expression: request.operation != 'CREATE' && has(oldObject.spec.lock) && !variables.isOver
- name: owner
  expression: "request.operation == 'CREATE' ? '' : oldObject.spec.?lock.?by.?username.orValue('')"
- name: isOwner
  expression: {{ include "foredeck.same" (dict "name" "variables.owner") }}
- name: mayLock
  expression: >-
    {{ include "foredeck.may" (merge (dict "verb" "lock") .) | nindent 4 | trim }}
- name: mayOverride
  expression: >-
    !variables.user.startsWith('system:') &&
    {{ include "foredeck.may" (merge (dict "verb" "override") .) | nindent 4 | trim }}
{{- end }}

{{/* Whether nothing gives an object another owner, with whom Kubernetes would delete it: a CEL expression. */}}
{{- define "foredeck.owned" -}}
request.operation == 'DELETE' || variables.isAdministrator || variables.isCleaner ||
object.metadata.?ownerReferences.orValue([]).size() == 0 ||
(request.operation == 'UPDATE' && object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences)
{{- end }}

{{/* Who may lock, and who may lift: `what` is what is locked, `where` on what a verb is needed, both inside of CEL strings. */}}
{{- define "foredeck.lock.rules" -}}
- expression: >-
    !variables.locks || variables.isReceiver || variables.isLocked || variables.mayLock ||
    (!has(object.spec.lock) && (variables.isOwner || variables.mayOverride))
  messageExpression: >-
    '"' + variables.user + '" may not lock {{ .what }}: that takes the verb lock on {{ .where }} in ' + request.namespace +
    '. Leave spec.lock as it is, or ask somebody who has the verb'
  reason: Forbidden
- expression: >-
    !variables.lifts || variables.isReceiver || !variables.isLocked || variables.isOwner || variables.mayOverride ||
    variables.user.startsWith('system:')
  messageExpression: >-
    '"' + variables.user + '" may not ' + (request.operation == 'DELETE' ? 'delete {{ .what }} and so lift its lock' :
    'change or lift the lock of {{ .what }}') + ': it is "' + variables.owner + '"\'s ("' +
    oldObject.spec.lock.reason.replace('\n', ' ') + '"), and for anybody else that takes the verb override on {{ .where }} in ' +
    request.namespace + '. Ask "' + variables.owner + '", or somebody who has the verb. If that is you under another name,
    lift it in Slack or as "' + variables.owner + '"'
  reason: Forbidden
- expression: >-
    !variables.lifts || variables.isReceiver || !variables.isLocked || variables.isOwner ||
    !variables.user.startsWith('system:')
  messageExpression: >-
    '"' + variables.user + '" is one of Kubernetes\' own users, and only people change or lift another\'s lock: that of
    {{ .what }} is "' + variables.owner + '"\'s ("' + oldObject.spec.lock.reason.replace('\n', ' ') + '"). ' +
    (request.operation == 'DELETE' ? 'To delete this lifts it: ' : 'What is applied without spec.lock leaves it alone; ') +
    'to lift it do it as yourself'
  reason: Forbidden
{{- end }}

{{- define "foredeck.policies.guardrails" -}}
{{ include "foredeck.policies.environments" . }}
---
{{ include "foredeck.policies.targets" . }}
---
{{ include "foredeck.policies.freezes" . }}
{{- end }}

{{- define "foredeck.policies.environments" -}}
{{- $lock := dict "environment" "variables.it.metadata.?name.orValue('')" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: foredeck-environments
spec:
  failurePolicy: Fail
  {{- include "foredeck.constraints" (dict "operations" (list "CREATE" "UPDATE" "DELETE") "resources" (list "environments")) | nindent 2 }}
  {{- include "foredeck.variables" . | nindent 2 }}
    {{- include "foredeck.lock.variables" $lock | nindent 4 }}
  validations:
    - expression: "!(variables.isController || variables.isRelay)"
      message: foredeck's controller and relay change nothing of an environment but its status
      reason: Forbidden
    - expression: >-
        !variables.isReceiver || (request.operation == 'UPDATE' &&
        object.metadata.?labels == oldObject.metadata.?labels &&
        object.metadata.?annotations == oldObject.metadata.?annotations &&
        object.metadata.?finalizers == oldObject.metadata.?finalizers &&
        object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences)
      message: foredeck's receiver makes no environments, and changes nothing of one but spec.lock
      reason: Forbidden
    {{- range (list "connection" "target" "allowTargets" "protection" "notify" "sharedTarget") }}
    - expression: "!variables.isReceiver || object.spec.?{{ . }} == oldObject.spec.?{{ . }}"
      message: spec.{{ . }} of an environment is the platform team's, and foredeck's receiver changes spec.lock only
      reason: Forbidden
    {{- end }}
    {{- include "foredeck.actor" (dict "root" . "field" "spec.lock.by" "when" "variables.sets" "does" "locks") | nindent 4 }}
    {{- include "foredeck.lock.rules" (dict
      "what" "the Environment \"' + variables.it.metadata.?name.orValue('') + '\""
      "where" "the Environment \"' + variables.it.metadata.?name.orValue('') + '\"") | nindent 4 }}
    # What makes Environments may own them; whoever may not lift a lock has no other delete it.
    - expression: >-
        !variables.isLocked || variables.isOwner || variables.mayOverride ||
        {{ include "foredeck.owned" . | nindent 8 | trim }}
      messageExpression: >-
        'metadata.ownerReferences of the Environment "' + variables.it.metadata.?name.orValue('') + '" may not change while
        "' + variables.owner + '" locks it: Kubernetes deletes what is owned, and its lock with it, once the owner is gone.
        Leave them as they are until the lock is lifted'
      reason: Forbidden
---
{{ include "foredeck.binding" "foredeck-environments" }}
{{- end }}

{{- define "foredeck.policies.targets" -}}
{{- $names := dict "environment" "variables.it.spec.environment" "application" "variables.it.spec.application" -}}
{{- $where := "the Environment \"' + variables.it.spec.environment + '\" and on the Application \"' + variables.it.spec.application + '\"" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: foredeck-deploytargets
spec:
  failurePolicy: Fail
  {{- include "foredeck.constraints" (dict "operations" (list "CREATE" "UPDATE" "DELETE") "resources" (list "deploytargets")) | nindent 2 }}
  {{- include "foredeck.variables" . | nindent 2 }}
    {{- include "foredeck.lock.variables" $names | nindent 4 }}
    - name: releases
      expression: >-
        request.operation != 'DELETE' &&
        (request.operation == 'CREATE' ? has(object.spec.release) : object.spec.?release != oldObject.spec.?release)
    # One that is made anew gets the hold again that it had, from what else is known, and says here that it is over.
    - name: unholds
      expression: >-
        request.operation != 'DELETE' &&
        (request.operation == 'CREATE' ? has(object.spec.unhold) : object.spec.?unhold != oldObject.spec.?unhold)
    - name: saysWho
      expression: >-
        request.operation != 'DELETE' && {{ include "foredeck.sets" "unhold" }}
    - name: held
      expression: "request.operation == 'UPDATE' ? oldObject.?status.?hold.?uid.orValue('') : ''"
    - name: holder
      expression: "request.operation == 'UPDATE' ? oldObject.?status.?hold.?by.orValue('') : ''"
    - name: isHolder
      expression: {{ include "foredeck.same" (dict "name" "variables.holder") }}
    - name: prefix
      expression: variables.it.spec.application + '.' + variables.it.spec.environment + '.'
  validations:
    - expression: "!variables.isRelay"
      message: foredeck's relay changes nothing of a target
      reason: Forbidden
    - expression: "request.operation != 'DELETE' || !(variables.isController || variables.isReceiver)"
      message: foredeck's controller and receiver delete no targets
      reason: Forbidden
    - expression: >-
        !variables.isController || (request.operation == 'CREATE' ? !(has(object.spec.lock) || has(object.spec.unhold)) :
        object.spec == oldObject.spec)
      message: foredeck's controller makes targets, and leaves to people what is theirs in the spec of one
      reason: Forbidden
    - expression: "!variables.isReceiver || request.operation == 'UPDATE' || (has(object.spec.lock) && !has(object.spec.unhold))"
      message: foredeck's receiver makes a target only to lock it
      reason: Forbidden
    - expression: >-
        !variables.isReceiver || request.operation == 'CREATE' || (
        object.metadata.?labels == oldObject.metadata.?labels &&
        object.metadata.?annotations == oldObject.metadata.?annotations &&
        object.metadata.?finalizers == oldObject.metadata.?finalizers &&
        object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences)
      message: foredeck's receiver changes nothing of a target but spec.lock and spec.unhold
      reason: Forbidden
    # Verbs are asked for by its spec, and it is found by its name. Whether the digits are right the controller sees.
    - expression: >-
        request.operation != 'CREATE' || (object.metadata.?name.orValue('').startsWith(variables.prefix) &&
        object.metadata.name.substring(variables.prefix.size()).matches('^[0-9a-f]{12}$'))
      messageExpression: >-
        'a target is called after what its spec says, "' + variables.prefix + '" and twelve digits that foredeck derives, and
        not "' + object.metadata.?name.orValue('') + '". Foredeck makes targets when they are needed: leave that to it'
      reason: Invalid
    - expression: "!variables.releases || !variables.user.startsWith('system:')"
      messageExpression: >-
        '"' + variables.user + '" is one of Kubernetes\' own users, and only people let a target go (spec.release): do it as
        yourself'
      reason: Forbidden
    - expression: >-
        !variables.releases || variables.mayOverride
      messageExpression: >-
        '"' + variables.user + '" may not let this target go (spec.release): two may then run at once, and that takes the verb
        override on {{ $where }} in ' + request.namespace + '. Ask somebody who has it'
      reason: Forbidden
    {{- include "foredeck.actor" (dict "root" . "field" "spec.lock.by" "when" "variables.sets" "does" "locks") | nindent 4 }}
    {{- include "foredeck.lock.rules" (dict
      "what" "\"' + variables.it.spec.application + '\" in \"' + variables.it.spec.environment + '\""
      "where" $where) | nindent 4 }}
    - expression: >-
        {{ include "foredeck.owned" . | nindent 8 | trim }}
      message: >-
        metadata.ownerReferences of a target are nobody's to set: Kubernetes deletes what is owned, here with its lock, its
        hold and its history, once the owner is gone. Leave them as they are{{ include "foredeck.byhand" . }}
      reason: Forbidden
    {{- include "foredeck.actor" (dict "root" . "field" "spec.unhold.by" "when" "variables.saysWho" "does" "unlocks") | nindent 4 }}
    - expression: >-
        !variables.unholds || request.operation == 'CREATE' || !has(object.spec.unhold) ||
        (variables.held != '' && object.spec.unhold.uid == variables.held)
      messageExpression: >-
        'spec.unhold.uid is "' + object.spec.unhold.uid + '", ' + (variables.held == '' ? 'and no rollback holds this target:
        leave spec.unhold out' : 'and the rollback that holds this target is "' + variables.held + '" (status.hold.uid): write
        that one, once you know what it gave up')
      reason: Invalid
    - expression: >-
        !variables.unholds || variables.isReceiver || variables.isHolder || variables.mayOverride ||
        (request.operation == 'CREATE' && variables.isAdministrator)
      messageExpression: >-
        '"' + variables.user + '" may not say whether this rollback\'s hold is over (spec.unhold): ' + (variables.holder == '' ?
        '' : '"' + variables.holder + '" rolled back, and for anybody else ') + 'that takes the verb override on {{ $where }}
        in ' + request.namespace + (variables.user.startsWith('system:') ? ', which counts for people only' : '') +
        (request.operation == 'CREATE' ? '. Leave it out of a new target, or ask ' : '. Ask ') +
        (variables.holder == '' ? '' : '"' + variables.holder + '", or ') + 'somebody who has the verb'
      reason: Forbidden
---
{{ include "foredeck.binding" "foredeck-deploytargets" }}
{{- end }}

{{- define "foredeck.policies.freezes" -}}
{{- $home := toJson .Release.Namespace -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: foredeck-deployfreezes
spec:
  failurePolicy: Fail
  {{- include "foredeck.constraints" (dict "operations" (list "CREATE" "UPDATE" "DELETE") "resources" (list "deployfreezes")) | nindent 2 }}
  {{- include "foredeck.variables" . | nindent 2 }}
    - name: writes
      expression: {{ include "foredeck.writes" . }}
    - name: isStop
      expression: >-
        request.namespace == {{ $home }} &&
        (request.operation == 'DELETE' ? oldObject.metadata.name : object.metadata.?name.orValue('')) == 'stop-all'
    - name: isEnding
      expression: >-
        request.operation == 'DELETE' && namespaceObject != null && has(namespaceObject.metadata.deletionTimestamp)
  validations:
    - expression: "!(variables.isController || variables.isRelay)"
      message: foredeck's controller and relay change nothing of a freeze but its status
      reason: Forbidden
    - expression: "!variables.isReceiver || (variables.isStop && request.operation != 'UPDATE')"
      message: >-
        foredeck's receiver makes and deletes the freeze stop-all in {{ .Release.Namespace }}, which is the stop button, and
        touches no other
      reason: Forbidden
    {{- include "foredeck.actor" (dict "root" . "field" "spec.by" "when" "variables.writes" "does" "freezes") | nindent 4 }}
    - expression: >-
        !variables.isStop || variables.isReceiver || variables.isEnding ||
        authorizer.group('foredeck.dev').resource('deployfreezes').namespace({{ $home }}).name('stop-all').check('override').allowed()
      messageExpression: >-
        '"' + variables.user + '" may not ' + (request.operation == 'CREATE' ? 'stop' : request.operation == 'DELETE' ?
        'resume' : 'change what stops') + ' everything: the freeze "stop-all" in {{ .Release.Namespace }} is the stop button, and
        takes the verb override on the DeployFreeze "stop-all" there. Ask somebody who has it, or give a freeze of your own
        another name'
      reason: Forbidden
---
{{ include "foredeck.binding" "foredeck-deployfreezes" }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: foredeck-deployfreezes-status
spec:
  failurePolicy: Fail
  {{- include "foredeck.constraints" (dict "operations" (list "UPDATE") "resources" (list "deployfreezes/status")) | nindent 2 }}
  {{- include "foredeck.variables" . | nindent 2 }}
  validations:
    - expression: variables.isController || variables.isRelay || variables.isAdministrator
      messageExpression: >-
        '"' + variables.user + '" may not write the status of deployfreezes: it is foredeck\'s controller\'s and relay\'s
        alone. To end a freeze set spec.until, or delete it{{ include "foredeck.byhand" . }}'
      reason: Forbidden
    - expression: "!variables.isController || object.?status.?slack == oldObject.?status.?slack"
      message: status.slack is the relay's alone, and foredeck's controller may not change it
      reason: Forbidden
    {{- range (list "observedGeneration" "since" "until" "next" "conditions") }}
    - expression: "!variables.isRelay || object.?status.?{{ . }} == oldObject.?status.?{{ . }}"
      message: status.{{ . }} is the controller's alone, and foredeck's relay may change status.slack only
      reason: Forbidden
    {{- end }}
---
{{ include "foredeck.binding" "foredeck-deployfreezes-status" }}
{{- end }}
