"""Official Janus checkpoints: conversion to transformers folders and back, in bounded memory."""
