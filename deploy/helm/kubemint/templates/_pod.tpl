{{/* The pod of all three modes: include "kubemint.pod" (dict "root" $ "mode" "cronjob" "args" (list …)) */}}
{{- define "kubemint.pod" -}}
serviceAccountName: kubemint
automountServiceAccountToken: false
enableServiceLinks: false
{{- if ne .mode "watcher" }}
restartPolicy: Never
{{- end }}
terminationGracePeriodSeconds: 180
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  # Files of Secrets belong to root. With this group kubemint may read them, and nobody else.
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
containers:
- name: kubemint
  {{- with .root.Values.image }}
  {{- if .digest }}
  image: {{ printf "%s@%s" .repository .digest | quote }}
  {{- else }}
  image: {{ printf "%s:%s" .repository (.tag | default $.root.Chart.AppVersion) | quote }}
  {{- end }}
  imagePullPolicy: {{ .pullPolicy }}
  {{- end }}
  args:
  {{- range .args }}
  - {{ . | quote }}
  {{- end }}
  env:
  - name: KUBEMINT_INVENTORY
    value: /etc/kubemint/inventory/clusters.toml
  - name: XDG_CACHE_HOME
    value: /var/cache/kubemint
  # The kubelet makes volumes writable for their group or for everybody, which kubemint refuses. In this pod there is
  # no other user.
  - name: KUBEMINT_ALLOW_SHARED_DIRECTORIES
    value: "true"
  {{- if eq .mode "indexed-job" }}
  # With JOB_COMPLETION_INDEX, which Kubernetes sets, this says which shard it is: the same as `--shard`.
  - name: KUBEMINT_SHARDS
    value: {{ .root.Values.indexedJob.shards | quote }}
  # The reports of an earlier Job on the same volume are then not taken for those of this one.
  - name: KUBEMINT_JOB
    valueFrom:
      fieldRef:
        fieldPath: metadata.labels['batch.kubernetes.io/controller-uid']
  {{- end }}
  {{- if eq .mode "watcher" }}
  ports:
  - name: metrics
    containerPort: 9464
    protocol: TCP
  livenessProbe:
    httpGet:
      path: /healthz
      port: metrics
    periodSeconds: 10
    failureThreshold: 6
  readinessProbe:
    httpGet:
      path: /readyz
      port: metrics
    periodSeconds: 10
  {{- end }}
  resources:
    {{- toYaml .root.Values.resources | nindent 4 }}
  securityContext:
    allowPrivilegeEscalation: false
    capabilities:
      drop: [ALL]
    privileged: false
    readOnlyRootFilesystem: true
  volumeMounts:
  # A directory and no subPath: a file that is mounted by itself is never updated.
  - name: inventory
    mountPath: /etc/kubemint/inventory
    readOnly: true
  - name: admin
    mountPath: /etc/kubemint/admin
    readOnly: true
  - name: token
    mountPath: /var/run/secrets/kubernetes.io/serviceaccount
    readOnly: true
  - name: cache
    mountPath: /var/cache/kubemint
  {{- if eq .mode "indexed-job" }}
  - name: results
    mountPath: /results
  {{- end }}
volumes:
- name: inventory
  configMap:
    name: {{ include "kubemint.inventory" .root }}
- name: admin
  secret:
    secretName: {{ .root.Values.admin.secretName }}
    # 0400 for root; the kubelet adds the right to read for fsGroup.
    defaultMode: 256
- name: cache
  emptyDir:
    medium: Memory
    sizeLimit: 16Mi
- name: token
  projected:
    defaultMode: 256
    sources:
    - serviceAccountToken:
        path: token
        expirationSeconds: 3600
    - configMap:
        name: kube-root-ca.crt
        items:
        - key: ca.crt
          path: ca.crt
{{- if eq .mode "indexed-job" }}
- name: results
  persistentVolumeClaim:
    claimName: {{ .root.Values.indexedJob.results.claimName }}
{{- end }}
{{- end }}

{{/* The name has the checksum of the content, as Kustomize has it: a new inventory is a new name. */}}
{{- define "kubemint.inventory" -}}
kubemint-inventory-{{ required "set the inventory: --set-file inventory=clusters.toml" .Values.inventory | sha256sum | trunc 10 }}
{{- end }}

{{- define "kubemint.selector" -}}
app.kubernetes.io/name: kubemint
app.kubernetes.io/component: {{ .Values.mode }}
{{- end }}

{{- define "kubemint.labels" -}}
app.kubernetes.io/name: kubemint
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What a failed pod means: docs/exit-codes.md. FailIndex is for Indexed Jobs only. */}}
{{- define "kubemint.podFailurePolicy" -}}
podFailurePolicy:
  rules:
  - action: Ignore
    onPodConditions:
    - type: DisruptionTarget
      status: "True"
  - action: FailJob
    onExitCodes:
      containerName: kubemint
      operator: In
      values: [2, 3]
  {{- if eq .Values.mode "indexed-job" }}
  - action: FailIndex
    onExitCodes:
      containerName: kubemint
      operator: In
      values: [5]
  {{- end }}
  - action: Count
    onExitCodes:
      containerName: kubemint
      operator: In
      values: [6, 7, 130]
{{- end }}
