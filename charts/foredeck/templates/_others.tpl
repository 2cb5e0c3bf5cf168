{{/* What may be written of approvals, persons, and of every other status. */}}

{{- define "foredeck.policies.others" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: foredeck-deployapprovals
spec:
  failurePolicy: Fail
  {{- include "foredeck.constraints" (dict "operations" (list "CREATE" "UPDATE") "resources" (list "deployapprovals")) | nindent 2 }}
  {{- include "foredeck.variables" . | nindent 2 }}
    - name: answers
      expression: request.operation == 'CREATE'
  validations:
    - expression: "!variables.answers || variables.isReceiver || !variables.user.startsWith('system:')"
      messageExpression: >-
        '"' + variables.user + '" is one of Kubernetes\' own users, and only people approve and judge: do it as yourself'
      reason: Forbidden
    - expression: >-
        !variables.answers || variables.isReceiver ||
        !(object.metadata.name.startsWith('approval-') || object.metadata.name.startsWith('judgment-'))
      messageExpression: >-
        'metadata.name is "' + object.metadata.name + '", and names that begin with "approval-" or "judgment-" are those of
        foredeck\'s receiver, for what is answered in Slack: choose another name'
      reason: Forbidden
    {{- include "foredeck.actor" (dict "root" . "field" "spec.approver" "when" "variables.answers" "does" "approves") | nindent 4 }}
---
{{ include "foredeck.binding" "foredeck-deployapprovals" }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: foredeck-persons
spec:
  failurePolicy: Fail
  {{- include "foredeck.constraints" (dict "operations" (list "CREATE" "UPDATE") "resources" (list "persons")) | nindent 2 }}
  {{- include "foredeck.variables" . | nindent 2 }}
  validations:
    - expression: "!(variables.isController || variables.isRelay)"
      message: foredeck's controller and relay change nothing of a person
      reason: Forbidden
    {{- range (list "slack" "username" "usernames") }}
    - expression: "!variables.isReceiver || request.operation != 'CREATE' || !has(object.spec.{{ . }})"
      message: spec.{{ . }} of a person is the platform team's, and foredeck's receiver makes persons with an empty spec
      reason: Forbidden
    {{- end }}
    - expression: "!variables.isReceiver || request.operation != 'UPDATE' || object.spec == oldObject.spec"
      message: the spec of a person is the platform team's, and foredeck's receiver may not change it
      reason: Forbidden
---
{{ include "foredeck.binding" "foredeck-persons" }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: foredeck-persons-status
spec:
  failurePolicy: Fail
  {{- include "foredeck.constraints" (dict "operations" (list "UPDATE") "resources" (list "persons/status")) | nindent 2 }}
  {{- include "foredeck.variables" . | nindent 2 }}
    - name: named
      expression: object.?status.?username
    - name: isMapped
      expression: object.?status.?username == object.?spec.?username
    - name: sources
      expression: "has(object.status) && has(object.status.sources) ? object.status.sources : []"
  validations:
    {{- include "foredeck.written" (dict "root" . "role" "receiver" "mine" "isReceiver") | nindent 4 }}
    - expression: >-
        !variables.isReceiver || !variables.named.hasValue() || !variables.named.value().lowerAscii().startsWith('system:')
      messageExpression: >-
        'status.username is "' + object.status.username + '": nobody in Slack is one of Kubernetes\' own users'
      reason: Forbidden
    - expression: >-
        !variables.isReceiver || !variables.named.hasValue() || variables.isMapped ||
        {{ include "foredeck.known" (dict "root" . "name" "variables.named.value()") }}
      messageExpression: >-
        'status.username is "' + object.status.username + '", which is in none of the e-mail domains that foredeck\'s receiver
        may speak for. The platform team lists them in the chart\'s identity.emailDomains, or maps the person in its spec'
      reason: Forbidden
    - expression: >-
        !variables.isReceiver ||
        variables.sources.all(source, !has(source.groups) || source.groups.all(group, {{ include "foredeck.prefixed" . }}))
      message: >-
        status.sources names a group that foredeck's receiver may not: each has to begin with one of
        {{ join ", " .Values.identity.groupPrefixes }} (the chart's identity.groupPrefixes)
      reason: Forbidden
---
{{ include "foredeck.binding" "foredeck-persons-status" }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: foredeck-status
spec:
  failurePolicy: Fail
  {{- include "foredeck.constraints" (dict "operations" (list "UPDATE") "resources" (list "applications/status" "environments/status" "spinnakerconnections/status" "deployapprovals/status" "deploytargets/status")) | nindent 2 }}
  {{- include "foredeck.variables" . | nindent 2 }}
  validations:
    {{- include "foredeck.written" (dict "root" . "role" "controller" "mine" "isController") | nindent 4 }}
---
{{ include "foredeck.binding" "foredeck-status" }}
{{- end }}
