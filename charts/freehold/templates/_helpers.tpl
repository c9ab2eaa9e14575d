{{/* Labels of every object; takes the root. */}}
{{- define "freehold.labels" -}}
app.kubernetes.io/part-of: freehold
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Labels by which pods of a program are chosen; takes a list of root and program. */}}
{{- define "freehold.selector" -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- end }}

{{/* Name, namespace and labels of an object of a program; takes a list of root and program. */}}
{{- define "freehold.metadata" -}}
name: {{ index . 1 }}
namespace: {{ (index . 0).Release.Namespace }}
labels:
  app.kubernetes.io/name: {{ index . 1 }}
  {{- include "freehold.labels" (index . 0) | nindent 2 }}
{{- end }}

{{/* What every pod of a program says about safety. */}}
{{- define "freehold.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* What every container says about safety. */}}
{{- define "freehold.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The image of a program; takes a list of root and program. */}}
{{- define "freehold.image" -}}
{{- $root := index . 0 -}}
{{ $root.Values.image.registry }}/{{ index . 1 }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- end }}

{{/* Variables that every program takes; takes a list of root and port of health. */}}
{{- define "freehold.environment" -}}
- name: FREEHOLD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: FREEHOLD_IDENTITY
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: FREEHOLD_HEALTH_ADDRESS
  value: 0.0.0.0:{{ index . 1 }}
- name: FREEHOLD_LOG_FORMAT
  value: {{ (index . 0).Values.logFormat }}
{{- end }}

{{/* Whether a program is well; the port is named health. */}}
{{- define "freehold.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 10
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 2
{{- end }}

{{/* Where pods go; takes a list of root, program and its values. */}}
{{- define "freehold.placement" -}}
{{- $values := index . 2 -}}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $values.affinity }}
affinity: {{- toYaml $values.affinity | nindent 2 }}
{{- else }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "freehold.selector" . | nindent 8 }}
{{- end }}
{{- with (index . 0).Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The Secret with the database's URL, and its entry. */}}
{{- define "freehold.databaseSecret" -}}
{{- if .Values.database.existingSecret }}{{ .Values.database.existingSecret }}{{ else }}freehold-postgresql{{ end }}
{{- end }}
{{- define "freehold.databaseKey" -}}
{{- if .Values.database.existingSecret }}{{ .Values.database.key }}{{ else }}url{{ end }}
{{- end }}
