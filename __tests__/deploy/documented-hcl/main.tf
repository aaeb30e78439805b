# Staging as the documents describe the Terraform that came before: their modules, their sizes, AWS's own keys. Smaller by what
# holds nothing: a takeover is about networks, names and data.
terraform {
  required_providers {
    aws    = { source = "hashicorp/aws", version = "5.100.0" }
    random = { source = "hashicorp/random" }
  }
  backend "s3" {
    bucket         = "urr-terraform-state-staging"
    key            = "staging/terraform.tfstate"
    region         = "ap-northeast-2"
    encrypt        = true
    dynamodb_table = "urr-terraform-locks"
  }
}

provider "aws" {
  region = "ap-northeast-2"
  default_tags {
    tags = { Project = "URR", Environment = "staging", ManagedBy = "Terraform" }
  }
}

locals {
  prefix = "urr-staging"
}

module "iam" {
  source = "./modules/iam"
  prefix = local.prefix
}

module "vpc" {
  source = "./modules/vpc"
  prefix = local.prefix
  cidr   = "10.1.0.0/16"
}

module "secrets" {
  source       = "./modules/secrets"
  prefix       = local.prefix
  rds_endpoint = module.rds.address
}

module "rds" {
  source              = "./modules/rds"
  prefix              = local.prefix
  vpc_id              = module.vpc.vpc_id
  subnet_ids          = module.vpc.db_subnet_ids
  password            = module.secrets.rds_password
  monitoring_role_arn = module.iam.rds_monitoring_role_arn
}

module "elasticache" {
  source     = "./modules/elasticache"
  prefix     = local.prefix
  vpc_id     = module.vpc.vpc_id
  subnet_ids = module.vpc.cache_subnet_ids
  auth_token = module.secrets.redis_auth_token
}

module "msk" {
  source     = "./modules/msk"
  prefix     = local.prefix
  vpc_id     = module.vpc.vpc_id
  subnet_ids = module.vpc.streaming_subnet_ids
}

module "s3" {
  source      = "./modules/s3"
  prefix      = local.prefix
  environment = "staging"
}

module "sqs" {
  source = "./modules/sqs"
  prefix = local.prefix
}

module "dynamodb_vwr" {
  source = "./modules/dynamodb-vwr"
  prefix = local.prefix
}
