"""Running finished networks: from their files, over images, clips and videos."""
