/// Files that deploy a server under systemd or in Kubernetes.
package enum Deployment {
    /// A hardened systemd unit, without privileges that a server does not need.
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
        # Longer than drainTimeout: after SIGTERM the server drains and returns its leases.
        TimeoutStopSec=30
        Restart=on-failure
        RestartSec=1
        LimitNOFILE=65536
        # /health is 503 for this time, so that load balancers stop sending requests.
        Environment=CISTERN_DRAIN_DELAY=5s
        # Secrets, such as CISTERN_REDIS_PASSWORD, one NAME=VALUE per line; readable by root only.
        EnvironmentFile=-/etc/cistern/environment
        # Tokens for access to the admin interface from other hosts; the file can be readable by root only.
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

    /// A Kubernetes manifest: servers that share Redis, their settings, a service and a disruption budget.
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
            # How long connections are still accepted after SIGTERM, while /health is 503.
            drainDelay: 5s
            redis: \(redis)
            limits: /etc/cistern/limits.yaml
          limits.yaml: |
            default: {capacity: 100, refill: 10/s}
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
              # Longer than preStop, drainDelay and drainTimeout together: the server returns its leases.
              terminationGracePeriodSeconds: 30
              # The server would read a Service's variables, such as CISTERN_PORT, as settings.
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
                  # A server stays alive and ready while Redis is down: it follows its failure policy.
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
                    # Delays SIGTERM until most of the cluster knows that the pod is terminating.
                    preStop: {sleep: {seconds: 3}}
                  # The admin interface listens only inside the pod: kubectl port-forward POD 8081
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
          # Not named cistern: pods would get CISTERN_ variables, which are settings.
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
