{{- /* The names in the control plane's certificate are istiod's. */ -}}
{{- define "control.name" -}}
istiod{{ include "control.suffix" . }}
{{- end }}

{{- define "control.revision" -}}
{{ .Values.revision | default "default" }}
{{- end }}

{{- /* What revisions would otherwise share. */ -}}
{{- define "control.suffix" -}}
{{ with .Values.revision }}{{ if ne . "default" }}-{{ . }}{{ end }}{{ end }}
{{- end }}

{{- define "control.selector" -}}
app: istiod
istio.io/rev: {{ include "control.revision" . }}
{{- end }}

{{- define "control.podLabels" -}}
{{ include "control.selector" . }}
app.kubernetes.io/name: windlass-control
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: windlass
{{- end }}

{{- define "control.labels" -}}
{{ include "control.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "control.tag" -}}
{{ .Values.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "control.rootNamespace" -}}
{{ .Values.meshConfig.rootNamespace | default .Release.Namespace }}
{{- end }}

{{- define "control.controllers" -}}
{{- $all := list }}
{{- if index .Values.gatewayClasses "windlass" }}{{ $all = append $all "windlass.io/gateway-controller=windlass" }}{{ end }}
{{- if index .Values.gatewayClasses "windlass-envoy" }}{{ $all = append $all "windlass.io/envoy-gateway-controller=envoy" }}{{ end }}
{{- if index .Values.gatewayClasses "istio" }}{{ $all = append $all "istio.io/gateway-controller=windlass" }}{{ end }}
{{- join "," $all }}
{{- end }}
