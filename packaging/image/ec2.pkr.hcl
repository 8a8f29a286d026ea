# An Amazon Machine Image with kasm-bootstrap in it. IMDSv2 is required while it is built and on every machine made
# from it. See README.md here.

variable "region" {
  type        = string
  description = "Where the image is built."
}

variable "deb" {
  type        = string
  description = "The kasm-bootstrap package for the image's architecture, a file here."
}

variable "deb_sha256" {
  type        = string
  description = "Its SHA-256, taken where the package was built and not where it was downloaded."
}

variable "bake" {
  type        = list(string)
  description = "Arguments for `kasm-bootstrap bake`, such as [\"--release\", \"1.19.0\"]."
  default     = ["--release", "1.19.0"]
}

variable "source_ami_name" {
  type        = string
  description = "The newest image of this name is built upon. Debian's for arm64: debian-12-arm64-*."
  default     = "debian-12-amd64-*"
}

variable "source_ami_owner" {
  type        = string
  description = "Whose image that is: 136693071363 is Debian, 099720109477 is Canonical."
  default     = "136693071363"
}

variable "ssh_username" {
  type        = string
  description = "The user that image lets in: admin on Debian, ubuntu on Ubuntu."
  default     = "admin"
}

variable "instance_type" {
  type        = string
  description = "Of the source image's architecture. An arm64 one: t4g.medium."
  default     = "t3.medium"
}

variable "volume_gib" {
  type        = number
  description = "The size of the root volume: Docker's images need room."
  default     = 40
}

variable "root_device" {
  type        = string
  description = "The source image's own name of its root volume: /dev/xvda on Debian, /dev/sda1 on Ubuntu."
  default     = "/dev/xvda"
}

variable "subnet_id" {
  type        = string
  description = "Where the build machine stands; the default VPC's where none is given."
  default     = null
}

locals {
  # Each argument in quotes of its own: they pass through a shell.
  bake  = join(" ", [for argument in var.bake : "'${replace(argument, "'", "'\\''")}'"])
  stamp = formatdate("YYYYMMDD-hhmmss", timestamp())
}

source "amazon-ebs" "agent" {
  region        = var.region
  ami_name      = "kasm-bootstrap-${local.stamp}"
  instance_type = var.instance_type
  subnet_id     = var.subnet_id
  ssh_username  = var.ssh_username
  # The key that Packer made for itself is nobody's on the machines made from the image.
  ssh_clear_authorized_keys = true
  imds_support              = "v2.0"
  ena_support               = true

  # The build machine too answers only to those who ask for a token first.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }

  source_ami_filter {
    most_recent = true
    owners      = [var.source_ami_owner]
    filters = {
      name                = var.source_ami_name
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  launch_block_device_mappings {
    device_name           = var.root_device
    volume_size           = var.volume_gib
    volume_type           = "gp3"
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }

  tags = {
    Name       = "kasm-bootstrap-${local.stamp}"
    deb_sha256 = var.deb_sha256
  }
}

build {
  sources = ["source.amazon-ebs.agent"]

  provisioner "file" {
    source      = var.deb
    destination = "/tmp/kasm-bootstrap.deb"
  }

  provisioner "shell" {
    script           = "${path.root}/provision.sh"
    environment_vars = ["DEB=/tmp/kasm-bootstrap.deb", "DEB_SHA256=${var.deb_sha256}"]
    execute_command  = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }} ${local.bake}"
  }
}
