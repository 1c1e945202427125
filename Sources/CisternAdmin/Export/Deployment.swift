/// How to run a server for good: under systemd, or in Kubernetes.
package enum Deployment {
    /// A unit for systemd that may do nothing that a server need not do.
    package static func systemdUnit(program: String, config: String) -> String {
        """
        # /etc/systemd/system/cistern.service
        [Unit]
        Description=Cistern rate limiter
        Wants=network-online.target
        After=network-online.target

        [Service]
        Type=exec
        ExecStart=\(program) serve --config \(config)
        ExecReload=/bin/kill -HUP $MAINPID
        # SIGTERM drains and gives every lease back; longer than drainTimeout.
        TimeoutStopSec=30
        Restart=on-failure
        RestartSec=1
        LimitNOFILE=65536
        # Time for load balancers to look elsewhere, while /health is 503.
        Environment=CISTERN_DRAIN_DELAY=5s
        # Secrets, such as CISTERN_REDIS_PASSWORD, one NAME=VALUE a line; readable by root alone.
        EnvironmentFile=-/etc/cistern/environment
        # Who may use the operators' plane from elsewhere; the file may belong to root alone.
        #LoadCredential=tokens:/etc/cistern/tokens
        #Environment=CISTERN_ADMIN_TOKEN_FILE=%d/tokens CISTERN_ADMIN_HOST=0.0.0.0

        DynamicUser=yes
        NoNewPrivileges=yes
        ProtectSystem=strict
        ProtectHome=yes
        PrivateTmp=yes
        PrivateDevices=yes
        ProtectClock=yes
        ProtectControlGroups=yes
        ProtectHostname=yes
        ProtectKernelLogs=yes
        ProtectKernelModules=yes
        ProtectKernelTunables=yes
        ProtectProc=invisible
        ProcSubset=pid
        RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
        RestrictNamespaces=yes
        RestrictRealtime=yes
        RestrictSUIDSGID=yes
        LockPersonality=yes
        MemoryDenyWriteExecute=yes
        RemoveIPC=yes
        CapabilityBoundingSet=
        AmbientCapabilities=
        SystemCallArchitectures=native
        SystemCallFilter=@system-service
        SystemCallFilter=~@privileged @resources
        SystemCallErrorNumber=EPERM
        UMask=0077

        [Install]
        WantedBy=multi-user.target
        """
    }

    /// A deployment for Kubernetes: servers that share Redis, their settings, and a service in front of them.
    package static func kubernetesManifest(image: String, replicas: Int, redis: String) -> String {
        """
        apiVersion: v1
        kind: ConfigMap
        metadata:
          name: cistern
          labels: {app.kubernetes.io/name: cistern}
        data:
          cistern.yaml: |
            host: 0.0.0.0
            # Connections are still accepted for so long after SIGTERM, while /health is 503.
            drainDelay: 5s
            redis: \(redis)
            limits: /etc/cistern/limits.yaml
          limits.yaml: |
            default: {capacity: 100, refillPerSecond: 10}
        ---
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: cistern
          labels: {app.kubernetes.io/name: cistern}
        spec:
          replicas: \(replicas)
          selector:
            matchLabels: {app.kubernetes.io/name: cistern}
          strategy:
            rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
          template:
            metadata:
              labels: {app.kubernetes.io/name: cistern}
              annotations:
                prometheus.io/scrape: "true"
                prometheus.io/port: "8080"
                prometheus.io/path: /metrics
            spec:
              # Longer than preStop, drainDelay and drainTimeout: SIGTERM drains and gives every lease back.
              terminationGracePeriodSeconds: 30
              # Variables such as CISTERN_PORT of a Service would be taken for settings.
              enableServiceLinks: false
              automountServiceAccountToken: false
              securityContext:
                runAsNonRoot: true
                runAsUser: 65532
                seccompProfile: {type: RuntimeDefault}
              containers:
                - name: cistern
                  image: "\(image)"
                  args: [serve, --config, /etc/cistern/cistern.yaml]
                  env:
                    # kubectl create secret generic cistern --from-literal=redis-password=...
                    - name: CISTERN_REDIS_PASSWORD
                      valueFrom:
                        secretKeyRef: {name: cistern, key: redis-password, optional: true}
                  ports:
                    - {name: http, containerPort: 8080}
                  # A server is alive and ready while Redis is down: it follows its failure policy.
                  startupProbe:
                    httpGet: {path: /health, port: http}
                    periodSeconds: 1
                    failureThreshold: 30
                  # Not /health, which is 503 while the server drains.
                  livenessProbe:
                    tcpSocket: {port: http}
                    periodSeconds: 10
                    timeoutSeconds: 2
                  readinessProbe:
                    httpGet: {path: /health, port: http}
                    periodSeconds: 1
                    timeoutSeconds: 2
                    failureThreshold: 1
                  lifecycle:
                    # SIGTERM comes once most of the cluster knows that the pod is going.
                    preStop: {sleep: {seconds: 3}}
                  # The operators' plane listens in the pod alone: kubectl port-forward POD 8081
                  resources:
                    requests: {cpu: "1", memory: 512Mi}
                    limits: {memory: 1Gi}
                  securityContext:
                    allowPrivilegeEscalation: false
                    readOnlyRootFilesystem: true
                    capabilities: {drop: [ALL]}
                  volumeMounts:
                    - {name: settings, mountPath: /etc/cistern, readOnly: true}
              volumes:
                - name: settings
                  configMap: {name: cistern}
        ---
        apiVersion: v1
        kind: Service
        metadata:
          # Not cistern: pods would get variables named like settings.
          name: rate-limiter
          labels: {app.kubernetes.io/name: cistern}
        spec:
          selector: {app.kubernetes.io/name: cistern}
          ports:
            - {name: http, port: 80, targetPort: http}
        ---
        apiVersion: policy/v1
        kind: PodDisruptionBudget
        metadata:
          name: cistern
          labels: {app.kubernetes.io/name: cistern}
        spec:
          maxUnavailable: 1
          selector:
            matchLabels: {app.kubernetes.io/name: cistern}
        """
    }
}
