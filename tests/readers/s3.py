"""Buckets for the tests. usage: s3.py make|uploads|begin|expire|show|remove BUCKET

make     creates the bucket
uploads  prints the keys of multipart uploads that are open, one a line
begin    begins a multipart upload, with one part, and leaves it open
expire   gives the bucket a rule that aborts uploads which nobody finishes
show     prints how each object is stored, one JSON object a line
remove   deletes the bucket and all that is in it

The server and the keys are taken from the AWS_* variables.
"""

import json
import sys

import boto3
from botocore.config import Config

what, bucket = sys.argv[1:]
# the server of the tests is on this machine, or named on purpose: never through a proxy
s3 = boto3.client("s3", config=Config(proxies={}, s3={"addressing_style": "path"}), region_name="us-east-1")


def pages(call, field):
    for page in s3.get_paginator(call).paginate(Bucket=bucket):
        yield from page.get(field, [])


if what == "make":
    s3.create_bucket(Bucket=bucket)
elif what == "uploads":
    for upload in pages("list_multipart_uploads", "Uploads"):
        print(upload["Key"])
elif what == "begin":
    begun = s3.create_multipart_upload(Bucket=bucket, Key="open")
    s3.upload_part(Bucket=bucket, Key="open", UploadId=begun["UploadId"], PartNumber=1, Body=b"x")
elif what == "expire":
    rule = {"ID": "unfinished", "Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
elif what == "show":
    for found in list(pages("list_objects_v2", "Contents")):
        head = s3.head_object(Bucket=bucket, Key=found["Key"], ChecksumMode="ENABLED")
        tags = s3.get_object_tagging(Bucket=bucket, Key=found["Key"])["TagSet"]
        print(json.dumps({
            "sse": head.get("ServerSideEncryption"),
            "class": head.get("StorageClass", "STANDARD"),
            "tags": {tag["Key"]: tag["Value"] for tag in tags},
            "checksums": sorted(name for name in head if name.startswith("Checksum") and name != "ChecksumType"),
        }))
elif what == "remove":
    for upload in list(pages("list_multipart_uploads", "Uploads")):
        s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for found in list(pages("list_objects_v2", "Contents")):
        s3.delete_object(Bucket=bucket, Key=found["Key"])
    s3.delete_bucket(Bucket=bucket)
else:
    sys.exit(__doc__)
