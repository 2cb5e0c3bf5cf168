{{- /* Who asks, as the API server knows whoever runs this: kubectl auth whoami -o go-template-file=requester.tpl */ -}}
spec:
  requester:
    username: {{printf "%q" .status.userInfo.username}}
    groups:
    {{- range .status.userInfo.groups}}
    {{- if and (ne . "system:authenticated") (le (len .) 253)}}
    - {{printf "%q" .}}
    {{- end}}
    {{- end}}
