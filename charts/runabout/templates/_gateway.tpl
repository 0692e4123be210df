{{/* Whether the gateway has pods of its own: where several pods can use the object storage. */}}
{{- define "runabout.gatewayApart" -}}
{{- if and .Values.gateway.enabled (include "runabout.isShared" .) }}true{{ end -}}
{{- end -}}

{{- define "runabout.gatewayHost" -}}
{{- printf "%s-gateway.%s.svc" (include "runabout.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "runabout.gatewayUrl" -}}
{{- printf "https://%s.%s" (include "runabout.gatewayHost" .) .Values.settings.clusterDomain -}}
{{- end -}}

{{- define "runabout.gatewaySecret" -}}
{{- default (printf "%s-gateway-tls" (include "runabout.fullname" .)) .Values.gateway.tls.existingSecret -}}
{{- end -}}

{{/* In the operator's pod it has the operator's account. */}}
{{- define "runabout.gatewayAccount" -}}
{{- if include "runabout.gatewayApart" . -}}
{{- printf "%s-gateway" (include "runabout.fullname" .) -}}
{{- else -}}
{{- include "runabout.serviceAccountName" . -}}
{{- end -}}
{{- end -}}

{{- define "runabout.gatewayContainer" -}}
name: gateway
image: {{ include "runabout.image" (list . .Values.images.operator) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [gateway]
ports:
  - {name: gateway, containerPort: 8443}
  - {name: gw-health, containerPort: 8081}
  - {name: gw-metrics, containerPort: 9091}
env:
  - {name: RUNABOUT_GATEWAY_LISTEN_PORT, value: "8443"}
  - {name: RUNABOUT_GATEWAY_CERT_FILE, value: /etc/runabout/gateway/tls.crt}
  - {name: RUNABOUT_GATEWAY_KEY_FILE, value: /etc/runabout/gateway/tls.key}
  - name: RUNABOUT_GATEWAY_MAX_ACTIVE
    value: {{ int64 .Values.gateway.maxActive | quote }}
  - name: RUNABOUT_GATEWAY_PRESIGN
    value: {{ .Values.gateway.presign | quote }}
  {{- with .Values.gateway.impersonation.groups }}
  - name: RUNABOUT_GATEWAY_GROUPS
    value: {{ join "," . | quote }}
  {{- end }}
  - {name: RUNABOUT_HEALTH_PORT, value: "8081"}
  - {name: RUNABOUT_METRICS_PORT, value: "9091"}
  - name: RUNABOUT_LOG_LEVEL
    value: {{ .Values.settings.logLevel }}
  {{- include "runabout.storeEnv" . | nindent 2 }}
  {{- with .Values.gateway.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
securityContext:
  {{- include "runabout.containerSecurity" . | nindent 2 }}
resources:
  {{- toYaml .Values.gateway.resources | nindent 2 }}
livenessProbe:
  httpGet: {path: /healthz, port: gw-health}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: gw-health}
  periodSeconds: 5
  timeoutSeconds: 5
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: gateway-tls, mountPath: /etc/runabout/gateway, readOnly: true}
  {{- include "runabout.storeMounts" . | nindent 2 }}
{{- end -}}
