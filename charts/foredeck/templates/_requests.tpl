{{/* What may be asked, changed and recorded of a DeployRequest. */}}

{{- define "foredeck.policies.requests" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: foredeck-deployrequests
spec:
  failurePolicy: Fail
  {{- include "foredeck.constraints" (dict "operations" (list "CREATE" "UPDATE") "resources" (list "deployrequests")) | nindent 2 }}
  {{- include "foredeck.variables" . | nindent 2 }}
    - name: asks
      expression: request.operation == 'CREATE'
    - name: cancels
      expression: {{ include "foredeck.sets" "cancel" }}
    - name: overrides
      expression: {{ include "foredeck.sets" "override" }}
    - name: isRequester
      expression: >-
        has(object.spec.requester) && (object.spec.requester.username == variables.user ||
        (variables.user.contains('@') && object.spec.requester.username.lowerAscii() == variables.user.lowerAscii()))
    - name: mayCancel
      expression: >-
        {{ include "foredeck.may" (dict "verb" "cancel" "environment" "object.spec.environment" "application" "object.spec.application") | nindent 8 | trim }}
    {{- include "foredeck.cleaner" . | nindent 4 }}
  validations:
    - expression: "!variables.asks || !(variables.isController || variables.isRelay)"
      messageExpression: >-
        '"' + variables.user + '" asks for no deployments: foredeck\'s controller and relay never do'
      reason: Forbidden
    - expression: "variables.asks || !variables.isRelay"
      message: foredeck's relay changes nothing of a request but status.slack
      reason: Forbidden
    - expression: >-
        variables.asks || !variables.isReceiver || (object.metadata.?labels == oldObject.metadata.?labels &&
        object.metadata.?annotations == oldObject.metadata.?annotations &&
        object.metadata.?finalizers == oldObject.metadata.?finalizers &&
        object.metadata.?ownerReferences == oldObject.metadata.?ownerReferences)
      message: foredeck's receiver changes nothing of a request but spec.cancel and spec.override
      reason: Forbidden
    - expression: "variables.asks || !variables.isController || object.spec == oldObject.spec"
      message: foredeck's controller never changes what was asked
      reason: Forbidden
    - expression: "!variables.asks || !has(object.spec.commit) || variables.isReceiver || variables.isAdministrator"
      message: >-
        spec.commit is what foredeck's receiver planned, and nobody else says it: to have exactly one commit, name it in
        spec.version
      reason: Forbidden
    {{- include "foredeck.actor" (dict "root" . "field" "spec.requester" "when" "variables.asks" "does" "asks") | nindent 4 }}
    {{- include "foredeck.actor" (dict "root" . "field" "spec.cancel.by" "when" "variables.cancels" "does" "cancels") | nindent 4 }}
    - expression: >-
        variables.asks || !variables.cancels || variables.isReceiver || variables.isRequester ||
        variables.mayCancel
      messageExpression: >-
        '"' + variables.user + '" may not cancel this: "' + object.spec.?requester.?username.orValue('') + '" asked for it, and
        for anybody else it takes the verb cancel on the Environment "' + object.spec.environment + '" and on the
        Application "' + object.spec.application + '" in ' + request.namespace + '. If that is you under another name,
        cancel it in Slack or as "' + object.spec.?requester.?username.orValue('') + '"; or ask somebody who has the verb'
      reason: Forbidden
    {{- include "foredeck.actor" (dict "root" . "field" "spec.override.by" "when" "variables.overrides" "does" "overrides") | nindent 4 }}
    - expression: "!variables.overrides || variables.isReceiver || !variables.user.startsWith('system:')"
      messageExpression: >-
        '"' + variables.user + '" is one of Kubernetes\' own users, and only people pass what holds a request (spec.override):
        leave it out, and the request waits; or do it as yourself'
      reason: Forbidden
    - expression: >-
        !variables.overrides || variables.isReceiver ||
        ({{ include "foredeck.may" (dict "verb" "override" "environment" "object.spec.environment" "application" "object.spec.application") | nindent 8 | trim }})
      messageExpression: >-
        '"' + variables.user + '" may not pass what holds this request (spec.override): that takes the verb override on the
        Environment "' + object.spec.environment + '" and on the Application "' + object.spec.application + '" in ' +
        request.namespace + '. Leave it out, and the request waits; or ask somebody who has the verb'
      reason: Forbidden
    - expression: >-
        variables.asks || variables.isController || variables.isAdministrator ||
        object.metadata.?annotations[?'foredeck.dev/seen'] == oldObject.metadata.?annotations[?'foredeck.dev/seen']
      message: >-
        the annotation foredeck.dev/seen is foredeck's controller's alone: it tells a request from a copy. Leave it as it is
      reason: Forbidden
    # What a request is made by may own it; to have it deleted with another ends what waits, as a cancel does.
    - expression: >-
        variables.asks ||
        {{ include "foredeck.owned" . | nindent 8 | trim }} ||
        variables.isRequester || variables.mayCancel
      messageExpression: >-
        '"' + variables.user + '" may not give this request another owner (metadata.ownerReferences): Kubernetes deletes what
        is owned once the owner is gone, which is as good as a cancel. "' + object.spec.?requester.?username.orValue('') + '"
        asked for it, and for anybody else that takes the verb cancel on the Environment "' + object.spec.environment + '" and
        on the Application "' + object.spec.application + '" in ' + request.namespace + '. Leave the owners as they are, or
        ask somebody who has the verb'
      reason: Forbidden
    # Argo CD gives its own to each hook that it makes.
    - expression: >-
        variables.isAdministrator || object.metadata.?finalizers.orValue([]).all(finalizer,
        finalizer in ['foregroundDeletion', 'orphan'] ||
        (variables.asks ? finalizer == 'argocd.argoproj.io/hook-finalizer' :
        finalizer in oldObject.metadata.?finalizers.orValue([])))
      message: >-
        metadata.finalizers of a request are nobody's to give: a request that is deleted would stay, and look as if somebody
        still looked after it. Leave them out; one that is there may be taken away{{ include "foredeck.byhand" . }}
      reason: Forbidden
---
{{ include "foredeck.binding" "foredeck-deployrequests" }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: foredeck-deployrequests-status
spec:
  failurePolicy: Fail
  {{- include "foredeck.constraints" (dict "operations" (list "UPDATE") "resources" (list "deployrequests/status")) | nindent 2 }}
  {{- include "foredeck.variables" . | nindent 2 }}
  validations:
    - expression: variables.isController || variables.isRelay || variables.isAdministrator
      messageExpression: >-
        '"' + variables.user + '" may not write the status of deployrequests: it is foredeck\'s controller\'s and relay\'s
        alone. To end a request set spec.cancel{{ include "foredeck.byhand" . }}'
      reason: Forbidden
    - expression: "!variables.isController || object.?status.?slack == oldObject.?status.?slack"
      message: status.slack is the relay's alone, and foredeck's controller may not change it
      reason: Forbidden
    {{- range (list "phase" "message" "observedGeneration" "conditions" "idempotencyKey" "resolved" "changes" "git" "attempt" "approvals" "gates" "judgment" "decisions" "audited" "traceId" "execution" "stage" "waiting" "nextAttemptAt" "startedAt" "finishedAt") }}
    - expression: "!variables.isRelay || object.?status.?{{ . }} == oldObject.?status.?{{ . }}"
      message: status.{{ . }} is the controller's alone, and foredeck's relay may change status.slack only
      reason: Forbidden
    {{- end }}
---
{{ include "foredeck.binding" "foredeck-deployrequests-status" }}
{{- end }}
