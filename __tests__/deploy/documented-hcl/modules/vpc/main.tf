variable "prefix" { type = string }
variable "cidr" { type = string }

locals {
  azs       = ["ap-northeast-2a", "ap-northeast-2c"]
  public    = [for k, az in local.azs : cidrsubnet(var.cidr, 8, k)]
  app       = [for k, az in local.azs : cidrsubnet(var.cidr, 8, k + 10)]
  db        = [for k, az in local.azs : cidrsubnet(var.cidr, 8, k + 20)]
  cache     = [for k, az in local.azs : cidrsubnet(var.cidr, 8, k + 30)]
  streaming = [for k, az in local.azs : cidrsubnet(var.cidr, 8, k + 40)]
}

resource "aws_vpc" "main" {
  cidr_block           = var.cidr
  enable_dns_hostnames = true
  enable_dns_support   = true
  tags                 = { Name = "${var.prefix}-vpc" }
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
  tags   = { Name = "${var.prefix}-igw" }
}

resource "aws_subnet" "public" {
  count             = 2
  vpc_id            = aws_vpc.main.id
  cidr_block        = local.public[count.index]
  availability_zone = local.azs[count.index]
  tags              = { Name = "${var.prefix}-public-${local.azs[count.index]}" }
}

resource "aws_subnet" "app" {
  count             = 2
  vpc_id            = aws_vpc.main.id
  cidr_block        = local.app[count.index]
  availability_zone = local.azs[count.index]
  tags              = { Name = "${var.prefix}-app-${local.azs[count.index]}" }
}

resource "aws_subnet" "db" {
  count             = 2
  vpc_id            = aws_vpc.main.id
  cidr_block        = local.db[count.index]
  availability_zone = local.azs[count.index]
  tags              = { Name = "${var.prefix}-db-${local.azs[count.index]}" }
}

resource "aws_subnet" "cache" {
  count             = 2
  vpc_id            = aws_vpc.main.id
  cidr_block        = local.cache[count.index]
  availability_zone = local.azs[count.index]
  tags              = { Name = "${var.prefix}-cache-${local.azs[count.index]}" }
}

resource "aws_subnet" "streaming" {
  count             = 2
  vpc_id            = aws_vpc.main.id
  cidr_block        = local.streaming[count.index]
  availability_zone = local.azs[count.index]
  tags              = { Name = "${var.prefix}-streaming-${local.azs[count.index]}" }
}

resource "aws_eip" "nat" {
  count  = 2
  domain = "vpc"
  tags   = { Name = "${var.prefix}-nat-${count.index == 0 ? "a" : "c"}" }
}

resource "aws_nat_gateway" "main" {
  count         = 2
  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.public[count.index].id
  tags          = { Name = "${var.prefix}-nat-${count.index == 0 ? "a" : "c"}" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.main.id
  tags   = { Name = "${var.prefix}-public-rt" }
}

resource "aws_route" "public" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.main.id
}

resource "aws_route_table" "app" {
  count  = 2
  vpc_id = aws_vpc.main.id
  tags   = { Name = "${var.prefix}-app-${count.index == 0 ? "a" : "c"}-rt" }
}

resource "aws_route_table" "db" {
  vpc_id = aws_vpc.main.id
  tags   = { Name = "${var.prefix}-db-rt" }
}

resource "aws_route_table_association" "public" {
  count          = 2
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table_association" "app" {
  count          = 2
  subnet_id      = aws_subnet.app[count.index].id
  route_table_id = aws_route_table.app[count.index].id
}

resource "aws_route_table_association" "db" {
  count          = 2
  subnet_id      = aws_subnet.db[count.index].id
  route_table_id = aws_route_table.db.id
}

output "vpc_id" { value = aws_vpc.main.id }
output "db_subnet_ids" { value = aws_subnet.db[*].id }
output "cache_subnet_ids" { value = aws_subnet.cache[*].id }
output "streaming_subnet_ids" { value = aws_subnet.streaming[*].id }
