{{/* What operator and gateway share: where records and objects are, as variables, mounts and volumes. */}}
{{- define "runabout.storeEnv" -}}
- name: RUNABOUT_ETCD_ENDPOINTS
  value: {{ include "runabout.etcdEndpoints" . | quote }}
{{- if .Values.etcd.tlsSecret }}
- {name: RUNABOUT_ETCD_CA_FILE, value: /etc/runabout/etcd/ca.crt}
- {name: RUNABOUT_ETCD_CERT_FILE, value: /etc/runabout/etcd/tls.crt}
- {name: RUNABOUT_ETCD_KEY_FILE, value: /etc/runabout/etcd/tls.key}
{{- end }}
{{- if .Values.etcd.auth.user }}
- name: RUNABOUT_ETCD_USER
  value: {{ .Values.etcd.auth.user | quote }}
- name: RUNABOUT_ETCD_PASSWORD_FILE
  value: {{ printf "/etc/runabout/etcd-auth/%s" .Values.etcd.auth.passwordKey | quote }}
{{- end }}
{{- if eq .Values.ost.type "s3" }}
- name: RUNABOUT_OST
  value: {{ printf "s3://%s/%s" .Values.ost.s3.bucket (trimAll "/" .Values.ost.s3.prefix) | trimSuffix "/" | quote }}
- name: RUNABOUT_S3_ENDPOINT
  value: {{ .Values.ost.s3.endpoint | quote }}
- name: RUNABOUT_S3_REGION
  value: {{ .Values.ost.s3.region | quote }}
- name: RUNABOUT_S3_PATH_STYLE
  value: {{ .Values.ost.s3.pathStyle | quote }}
{{- with .Values.ost.s3.existingSecret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_ACCESS_KEY_ID}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_SECRET_ACCESS_KEY}}
- name: AWS_SESSION_TOKEN
  valueFrom: {secretKeyRef: {name: {{ . }}, key: AWS_SESSION_TOKEN, optional: true}}
{{- end }}
{{- if include "runabout.hasCa" . }}
- name: RUNABOUT_S3_CA_FILE
  value: {{ printf "/etc/runabout/ca/%s" .Values.caBundle.key }}
{{- end }}
{{- else }}
- {name: RUNABOUT_OST, value: "file:///var/lib/runabout/ost"}
{{- end }}
{{- end -}}

{{- define "runabout.storeMounts" -}}
{{- if eq .Values.ost.type "posix" }}
- {name: ost, mountPath: /var/lib/runabout/ost}
{{- end }}
{{- if .Values.etcd.tlsSecret }}
- {name: etcd-tls, mountPath: /etc/runabout/etcd, readOnly: true}
{{- end }}
{{- if .Values.etcd.auth.user }}
- {name: etcd-auth, mountPath: /etc/runabout/etcd-auth, readOnly: true}
{{- end }}
{{- if include "runabout.hasCa" . }}
- {name: ca, mountPath: /etc/runabout/ca, readOnly: true}
{{- end }}
{{- end -}}

{{- define "runabout.storeVolumes" -}}
{{- if eq .Values.ost.type "posix" }}
- name: ost
  persistentVolumeClaim: {claimName: {{ include "runabout.claimName" . }}}
{{- end }}
{{- with .Values.etcd.tlsSecret }}
- name: etcd-tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- if .Values.etcd.auth.user }}
- name: etcd-auth
  secret: {secretName: {{ .Values.etcd.auth.passwordSecret }}, defaultMode: 0440}
{{- end }}
{{- if include "runabout.hasCa" . }}
- name: ca
  {{- if .Values.caBundle.secret }}
  secret: {secretName: {{ .Values.caBundle.secret }}, defaultMode: 0440}
  {{- else }}
  configMap: {name: {{ include "runabout.caConfigMap" . }}}
  {{- end }}
{{- end }}
{{- end -}}
