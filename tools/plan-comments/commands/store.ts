import { GetObjectCommand, NoSuchKey, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import type { BundleRef } from "./bundle";

/** Where bundles wait between plan and apply. */
export interface BundleStore {
  put(planned: BundleRef, bytes: Buffer): Promise<void>;
  get(planned: BundleRef): Promise<Buffer>;
}

/**
 * Address of a bundle: below its environment, which is what the roles may use, and by its digest, so that no other bundle
 * can take its place.
 */
export const keyOf = (planned: BundleRef): string =>
  `${planned.stack.split("-")[0]}/${planned.stack}/${planned.head}/${planned.digest}.zip`;

/**
 * Bundles as S3 objects under a KMS key: plan files hold sensitive values in clear. The role that plans may only put,
 * the role that applies may only get.
 */
export class S3BundleStore implements BundleStore {
  constructor(
    private readonly s3: S3Client,
    private readonly bucket: string,
    private readonly kmsKeyId: string,
  ) {}

  async put(planned: BundleRef, bytes: Buffer): Promise<void> {
    try {
      await this.s3.send(
        new PutObjectCommand({
          Bucket: this.bucket,
          Key: keyOf(planned),
          Body: bytes,
          ContentType: "application/zip",
          ServerSideEncryption: "aws:kms",
          SSEKMSKeyId: this.kmsKeyId,
          // Without a bucket key each request names the object, so that the key tells environments apart.
          BucketKeyEnabled: false,
          IfNoneMatch: "*",
        }),
      );
    } catch (error) {
      // There already: the same digest is the same bundle.
      if ((error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode !== 412) throw error;
    }
  }

  async get(planned: BundleRef): Promise<Buffer> {
    const key = keyOf(planned);
    try {
      const { Body: body } = await this.s3.send(new GetObjectCommand({ Bucket: this.bucket, Key: key }));
      if (!body) throw new Error(`${key} is empty`);
      return Buffer.from(await body.transformToByteArray());
    } catch (error) {
      if (!(error instanceof NoSuchKey)) throw error;
      throw new Error(`${key} is not in ${this.bucket}: bundles are kept for two weeks. Plan again.`);
    }
  }
}
