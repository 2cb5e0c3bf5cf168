{{/*
The Pods of the roles: what each has in common. Names in the cluster are fixed, since admission policies and Leases name
them, and there is one installation per API server.
*/}}

{{/* Which Pods are meant: `component` is the role, or "all" for the Pod of mode single. It must never change. */}}
{{- define "foredeck.selector" -}}
app.kubernetes.io/name: foredeck
app.kubernetes.io/instance: {{ quote .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "foredeck.labels" -}}
{{ include "foredeck.selector" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "foredeck.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* The component whose Pods are reached by Slack over HTTP. */}}
{{- define "foredeck.receiving" -}}
{{ if eq .Values.mode "single" }}all{{ else }}receiver{{ end }}
{{- end }}

{{/*
A Deployment: `name`, `component`, `command` of the binary, `replicas`, `pod` (its block of the values), and what its named
templates say of its `roles`. Nothing here wants a checksum: what is configured is in the arguments, and files are read again.
*/}}
{{- define "foredeck.deployment" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
{{- $parts := dict "root" $root "roles" .roles -}}
{{- $http := and (has "receiver" .roles) $values.slack.enabled (eq $values.slack.transport "http") -}}
{{- $volumes := include "foredeck.volumes" $parts | fromYamlArray -}}
{{- $given := include "foredeck.given" $parts | fromYaml -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  namespace: {{ quote $root.Release.Namespace }}
  labels:
    {{- include "foredeck.labels" . | nindent 4 }}
spec:
  replicas: {{ .replicas }}
  strategy:
    type: RollingUpdate
    # One at a time: while another comes, there are one replica's connections to Slack more, and no more than these.
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  selector:
    matchLabels:
      {{- include "foredeck.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- with omit .pod.podLabels "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/managed-by" "app.kubernetes.io/version" "helm.sh/chart" }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- include "foredeck.labels" . | nindent 8 }}
      annotations:
        kubectl.kubernetes.io/default-container: foredeck
        {{- with omit .pod.podAnnotations "kubectl.kubernetes.io/default-container" }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ .name }}
      automountServiceAccountToken: true
      # Else each Service of the namespace becomes variables, and foredeck reads variables that begin with FOREDECK_.
      enableServiceLinks: false
      # A call that starts a pipeline may take 20 s; whatever was begun is written down before the end.
      terminationGracePeriodSeconds: 45
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        # A volume that somebody claims is root's, and what is appended to it is ours.
        fsGroup: 65532
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile: {type: RuntimeDefault}
      {{- with $values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .pod.priorityClassName }}
      priorityClassName: {{ quote . }}
      {{- end }}
      {{- with .pod.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .pod.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .pod.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if .pod.topologySpreadConstraints }}
      topologySpreadConstraints:
        {{- toYaml .pod.topologySpreadConstraints | nindent 8 }}
      {{- else if gt (int .replicas) 1 }}
      topologySpreadConstraints:
        {{- range (list "kubernetes.io/hostname" "topology.kubernetes.io/zone") }}
        - maxSkew: 1
          topologyKey: {{ . }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "foredeck.selector" $ | nindent 14 }}
          matchLabelKeys: [pod-template-hash]
        {{- end }}
      {{- end }}
      containers:
        - name: foredeck
          image: {{ include "foredeck.image" $root | quote }}
          imagePullPolicy: {{ $values.image.pullPolicy }}
          args:
            - {{ .command }}
            {{- range $given.arguments }}
            - {{ quote . }}
            {{- end }}
            {{- range .pod.extraArguments }}
            - {{ quote . }}
            {{- end }}
          env:
            {{- range $name, $value := $given.variables }}
            - {name: {{ $name }}, value: {{ quote $value }}}
            {{- end }}
            {{- with include "foredeck.environment" (dict "root" $root "pod" .pod) }}
            {{- . | nindent 12 }}
            {{- end }}
          ports:
            - {name: admin, containerPort: 9090}
            {{- if $http }}
            - {name: http, containerPort: 8080}
            {{- end }}
          startupProbe:
            httpGet: {path: /livez, port: admin}
            periodSeconds: 1
            failureThreshold: 60
          livenessProbe:
            httpGet: {path: /livez, port: admin}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            httpGet: {path: /readyz, port: admin}
            periodSeconds: 5
            timeoutSeconds: 3
            failureThreshold: 2
          {{- with .pod.resources }}
          resources:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          {{- if or $volumes .pod.extraVolumeMounts }}
          volumeMounts:
            {{- range $volumes }}
            - {name: {{ .name }}, mountPath: {{ include "foredeck.folder" .name }}, readOnly: true}
            {{- end }}
            {{- with .pod.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- end }}
      {{- if or $volumes .pod.extraVolumes }}
      volumes:
        {{- with $volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- with .pod.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
{{- end }}

{{- define "foredeck.environment" -}}
{{- $values := .root.Values -}}
{{- with $values.log.filter }}
- {name: RUST_LOG, value: {{ quote . }}}
{{- end }}
{{- with $values.proxy.https }}
- {name: HTTPS_PROXY, value: {{ quote . }}}
{{- end }}
{{- with $values.proxy.noProxy }}
- {name: NO_PROXY, value: {{ join "," . | quote }}}
{{- end }}
{{- with .pod.extraEnvironment }}
{{ toYaml . }}
{{- end }}
{{- end }}
