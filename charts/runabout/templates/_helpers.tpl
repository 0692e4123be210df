{{- define "runabout.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "runabout.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "runabout.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "runabout.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the pods of a component: (list . "operator") */}}
{{- define "runabout.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "runabout.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "runabout.labels" -}}
{{- $root := index . 0 -}}
{{ include "runabout.selectorLabels" . }}
app.kubernetes.io/part-of: runabout
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* An image's full name: (list . .Values.images.operator) */}}
{{- define "runabout.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default $root.Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{/* Bytes of a size in Mi, Gi or Ti */}}
{{- define "runabout.bytes" -}}
{{- $unit := dict "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mul (regexFind "^[0-9]+" . | int64) (get $unit (regexFind "[MGT]i$" .) | int64) -}}
{{- end -}}

{{- define "runabout.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "runabout.serviceAccountName" -}}
{{- default (printf "%s-operator" (include "runabout.fullname" .)) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "runabout.claimName" -}}
{{- default (printf "%s-ost" (include "runabout.fullname" .)) .Values.ost.posix.existingClaim -}}
{{- end -}}

{{/* What the restricted Pod Security Standard asks of a pod, and of a container. */}}
{{- define "runabout.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "runabout.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "runabout.etcdEndpoints" -}}
{{- if .Values.etcd.enabled -}}
{{- printf "%s://%s-etcd.%s.svc.%s:2379" (ternary "https" "http" (ne .Values.etcd.tlsSecret "")) (include "runabout.fullname" .) .Release.Namespace .Values.settings.clusterDomain -}}
{{- else -}}
{{- join "," .Values.etcd.endpoints -}}
{{- end -}}
{{- end -}}

{{/* Name of the ConfigMap with the certificate authorities, if that is where they are. */}}
{{- define "runabout.caConfigMap" -}}
{{- if .Values.caBundle.pem }}{{ include "runabout.fullname" . }}-ca{{ else }}{{ .Values.caBundle.configMap }}{{ end -}}
{{- end -}}

{{- define "runabout.hasCa" -}}
{{- if or .Values.caBundle.pem .Values.caBundle.configMap .Values.caBundle.secret }}true{{ end -}}
{{- end -}}

{{/* Whether several pods may use the object storage at once. */}}
{{- define "runabout.isShared" -}}
{{- if or (eq .Values.ost.type "s3") (eq .Values.ost.posix.accessMode "ReadWriteMany") }}true{{ end -}}
{{- end -}}

{{/* A pod of a hook or a test: dict root, component, serviceAccount, args */}}
{{- define "runabout.hookPod" -}}
{{- $root := .root -}}
serviceAccountName: {{ .serviceAccount }}
restartPolicy: Never
{{- include "runabout.pullSecrets" $root }}
securityContext:
  {{- include "runabout.podSecurity" $root | nindent 2 }}
{{- with $root.Values.operator.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.operator.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: {{ .component }}
    image: {{ include "runabout.image" (list $root $root.Values.images.operator) | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args:
      {{- toYaml .args | nindent 6 }}
    env:
      - name: RUNABOUT_NAMESPACE
        valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
      - name: RUNABOUT_LOG_FORMAT
        value: console
    securityContext:
      {{- include "runabout.containerSecurity" $root | nindent 6 }}
    resources:
      requests: {cpu: 50m, memory: 128Mi}
      limits: {memory: 512Mi}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      {{- if .configMap }}
      - {name: files, mountPath: /files, readOnly: true}
      {{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 64Mi}
  {{- if .configMap }}
  - name: files
    configMap: {name: {{ .configMap }}}
  {{- end }}
{{- end -}}

{{/* Whether the operator's image can only be one that was built here: not published, and of no registry. */}}
{{- define "runabout.isUnpublished" -}}
{{- $image := include "runabout.image" (list . .Values.images.operator) -}}
{{- if eq $image "runabout/operator:dev" }}true{{ end -}}
{{- end -}}
