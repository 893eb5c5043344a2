{{- /* The name of what is of the namespace. */ -}}
{{- define "wasmxds.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- /* The name of what is of the cluster. */ -}}
{{- define "wasmxds.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "wasmxds.name" .) -}}
{{- end -}}

{{- define "wasmxds.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "wasmxds.labels" -}}
{{ include "wasmxds.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "wasmxds.kinds" -}}
{{- .Values.kinds | default (list "WasmFilter" "LuaFilter" "Listener" "Rollout" "FilterTest" "WasmPlugin" "TrafficExtension" "EnvoyFilter" "EnvoyExtensionPolicy") | toJson -}}
{{- end -}}

{{- define "wasmxds.rootNamespace" -}}
{{- .Values.rootNamespace | default .Release.Namespace -}}
{{- end -}}

{{- /* What goes together, and what not: the schema knows only single values. */ -}}
{{- define "wasmxds.check" -}}
{{- if and (gt (int .Values.replicas) 1) (eq .Values.state "local") -}}
{{- fail "replicas: more than one need a state that they share: set state to kubernetes" -}}
{{- end -}}
{{- if and .Values.tls.secretName (not .Values.admin.tokenSecretName) -}}
{{- fail "admin.tokenSecretName: with TLS, name the Secret whose key token has what the admin address asks for" -}}
{{- end -}}
{{- if and .Values.tls.rules (not .Values.tls.secretName) -}}
{{- fail "tls.rules: they say what certificates may be, so they need tls.secretName" -}}
{{- end -}}
{{- end -}}
