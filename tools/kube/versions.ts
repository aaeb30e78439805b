import { CHARTS } from "../../environments/platform";
import { VERSIONS } from "../../lib/life-cycle";

/** Version of the API server, kubectl and the schemas: a patch of the cluster's minor version. tools/kube/go/go.mod names it too. */
export const KUBERNETES_VERSION = `${VERSIONS.kubernetes}.4`;

/** Commands that are built from their own modules, by version. */
export const COMMANDS = {
  kustomize: { package: "sigs.k8s.io/kustomize/kustomize/v5", version: "v5.8.1" },
  kubeconform: { package: "github.com/yannh/kubeconform/cmd/kubeconform", version: "v0.8.0" },
  /** The Helm that is built into the Terraform provider. */
  helm: { package: "helm.sh/helm/v3/cmd/helm", version: "v3.18.4" },
} as const;

/** Commands that are built from the module in tools/kube/go. */
export const KUBERNETES_COMMANDS = { "kube-apiserver": "./apiserver", etcd: "./etcd", kubectl: "./kubectl" } as const;

/**
 * Where the schemas of custom resources come from: files of the modules of those who define them, at the version that the platform's
 * chart installs. External Secrets' module is served up to 1.3.2 only.
 */
export const CRD_SOURCES = {
  "argo-rollouts": {
    module: "github.com/argoproj/argo-rollouts",
    version: `v${CHARTS.argoRollouts.appVersion}`,
    files: ["manifests/crds/rollout-crd.yaml", "manifests/crds/analysis-template-crd.yaml"],
  },
  "argo-cd": {
    module: "github.com/argoproj/argo-cd/v3",
    version: `v${CHARTS.argoCd.appVersion}`,
    files: ["manifests/crds/application-crd.yaml"],
  },
  "external-secrets": {
    module: "github.com/external-secrets/external-secrets",
    version: "v1.3.2",
    files: [
      "config/crds/bases/external-secrets.io_externalsecrets.yaml",
      "config/crds/bases/external-secrets.io_clustersecretstores.yaml",
      "config/crds/bases/external-secrets.io_secretstores.yaml",
      "config/crds/bases/generators.external-secrets.io_passwords.yaml",
    ],
  },
  karpenter: {
    module: "github.com/aws/karpenter-provider-aws",
    version: `v${CHARTS.karpenter.appVersion}`,
    files: ["pkg/apis/crds/karpenter.sh_nodepools.yaml", "pkg/apis/crds/karpenter.k8s.aws_ec2nodeclasses.yaml"],
  },
  "prometheus-operator": {
    module: "github.com/prometheus-operator/prometheus-operator",
    version: `v${CHARTS.prometheusOperatorCrds.appVersion}`,
    files: ["prometheusrules", "servicemonitors"].map(
      (kinds) => `example/prometheus-operator-crd/monitoring.coreos.com_${kinds}.yaml`,
    ),
  },
} as const;
