import { StorageClassV1 } from "@cdktf/provider-kubernetes/lib/storage-class-v1";
import type { Construct } from "constructs";
import { Module } from "../../lib/terraform-modules";

/** Name of the storage class. */
const NAME = "gp3";

/** Volumes: gp3, encrypted, made in the zone of the pod that asks, and able to grow. Source: Infra analysis §2-2 "aws-ebs-csi-driver". */
export class Storage extends Module {
  readonly storageClassName: string;

  constructor(scope: Construct, id: string) {
    super(scope, id);
    const storageClass = new StorageClassV1(this, "storage_class_v1.gp3", {
      metadata: { name: NAME, annotations: { "storageclass.kubernetes.io/is-default-class": "true" } },
      storageProvisioner: "ebs.csi.aws.com",
      // A volume belongs to one zone: it is made where its pod is placed.
      volumeBindingMode: "WaitForFirstConsumer",
      reclaimPolicy: "Delete",
      allowVolumeExpansion: true,
      parameters: { type: "gp3", encrypted: "true" },
    });
    this.storageClassName = storageClass.metadata.name;
  }
}
